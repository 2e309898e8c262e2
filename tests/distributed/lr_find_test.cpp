// strata lr-find as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A range test over the parity fixture; `more` follows.
std::vector<std::string> range_test(int ranks, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"lr-find",
                                      "--model_name_or_path",
                                      parity("tiny_bert"),
                                      "--train_file",
                                      parity("train.tsv"),
                                      "--per_device_train_batch_size",
                                      std::to_string(12 / ranks),
                                      "--layer_decay",
                                      "0.8",
                                      "--adam_epsilon",
                                      "1e-5",
                                      "--max_seq_length",
                                      "48",
                                      "--start_lr",
                                      "1e-5",
                                      "--end_lr",
                                      "1",
                                      "--num_it",
                                      "40",
                                      "--bf16",
                                      "false"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

/// Names and contents of every file below a folder.
std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file()) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        files[fs::relative(entry.path(), folder)] = {std::istreambuf_iterator<char>(file), {}};
    }
    return files;
}

nlohmann::json found_on(int ranks, const ScratchFolder& scratch, const std::vector<std::string>& more = {}) {
    const fs::path json = scratch / ("found-" + std::to_string(ranks) + ".json");
    const JobResult job = run_strata(ranks, with(range_test(ranks, {"--json", json.string()}), more));
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, AllOf(HasSubstr("Range test of stage"), HasSubstr("valley")));
    return read_json(json);
}

TEST(LrFind, ranks_do_not_change_what_is_found) {
    const ScratchFolder scratch;
    const auto alone = found_on(1, scratch)["tests"][0];
    ASSERT_GE(alone["loss"].size(), 20U);
    for (const int ranks : {2, 4}) {
        const auto together = found_on(ranks, scratch)["tests"][0];
        ASSERT_EQ(together["loss"].size(), alone["loss"].size()) << ranks;
        EXPECT_EQ(together["learning_rate"], alone["learning_rate"]);
        for (std::size_t i = 0; i < alone["loss"].size(); ++i) {
            const double loss = alone["smoothed"][i];
            EXPECT_NEAR(together["smoothed"][i].get<double>(), loss, 1e-5 * loss)
                << ranks << " ranks, update " << i + 1;
        }
        for (const char* name : {"valley", "steep", "minimum"}) {
            EXPECT_EQ(together["suggestions"][name]["groups"], alone["suggestions"][name]["groups"]) << ranks << name;
        }
    }
}

TEST(LrFind, writes_what_it_was_asked_for_and_nothing_else) {
    const ScratchFolder scratch;
    fs::copy(parity("tiny_bert"), scratch / "model");
    const std::string config = scratch.write("run.toml", "output_dir = \"" + (scratch / "run").string() + "\"\n");
    auto before = contents(scratch.path());
    const JobResult job =
        run_strata(2, range_test(2, {"--config", config, "--model_name_or_path", (scratch / "model").string(), "--json",
                                     (scratch / "found.json").string(), "--svg", (scratch / "found.svg").string()}));
    ASSERT_EQ(job.exit_code, 0) << job.output;
    auto after = contents(scratch.path());
    EXPECT_EQ(after.erase("found.json"), 1U);
    EXPECT_THAT(after["found.svg"], AllOf(HasSubstr("<svg xmlns="), HasSubstr("valley"), HasSubstr("</svg>")));
    EXPECT_EQ(after.erase("found.svg"), 1U);
    EXPECT_TRUE(after == before) << "a file of the model or of a run was touched";
    EXPECT_FALSE(fs::exists(scratch / "run"));
}

TEST(LrFind, tests_each_group_of_a_stage) {
    const ScratchFolder scratch;
    const auto found = found_on(2, scratch,
                                {"--config", scratch.write("stages.toml", three_stages), "--stage", "stage_2",
                                 "--each_group", "--max_steps", "20"});
    EXPECT_EQ(found["stage"], "stage_2");
    ASSERT_EQ(found["tests"].size(), 2U);
    EXPECT_EQ(found["tests"][0]["group"], "layer_2");
    EXPECT_EQ(found["tests"][1]["group"], "head");
    const auto alone = found_on(
        1, scratch,
        {"--config", (scratch / "stages.toml").string(), "--stage", "stage_2", "--group", "head", "--max_steps", "20"});
    ASSERT_EQ(alone["tests"].size(), 1U);
    const double first = alone["tests"][0]["loss"][0];
    EXPECT_NEAR(found["tests"][1]["loss"][0].get<double>(), first, 1e-5 * first)
        << "what one group's test did must be gone before the next begins";
}

TEST(LrFind, refuses_what_makes_no_sense) {
    const ScratchFolder scratch;
    const auto refusal = [&](const std::vector<std::string>& more) {
        const JobResult job = run_strata(2, range_test(2, more));
        EXPECT_EQ(job.exit_code, 2) << job.output;
        EXPECT_EQ(job.output.find("strata: "), job.output.rfind("strata: ")) << "one message:\n" << job.output;
        return job.output;
    };
    EXPECT_THAT(refusal({"--start_lr", "1"}), HasSubstr("end_lr must be above start_lr"));
    EXPECT_THAT(refusal({"--num_it", "3"}), HasSubstr("at least 10"));
    EXPECT_THAT(refusal({"--group", "heat"}), AllOf(HasSubstr("group 'heat'"), HasSubstr("Did you mean 'head'?")));
    EXPECT_THAT(refusal({"--group", "head", "--each_group"}), HasSubstr("keep one"));
    EXPECT_THAT(refusal({"--stage", "last"}), AllOf(HasSubstr("stage 'last'"), HasSubstr("Its stages: train")));
    EXPECT_THAT(refusal({"--svg", (scratch / "no/such.svg").string()}), HasSubstr("there is no folder"));
    EXPECT_THAT(refusal({"--config", scratch.write("range.toml", "[lr_find]\nnum_it = 3\n"), "--num_it=7"}),
                HasSubstr("num_it is 7"));
    EXPECT_THAT(refusal({"--config", scratch.write("stage.toml", "[lr_find]\nstage = \"last\"\n")}),
                HasSubstr("stage.toml:2"));
}

TEST(LrFind, a_signal_ends_it_and_nothing_is_written) {
    const ScratchFolder scratch;
    BackgroundJob job(2, range_test(2, {"--num_it", "100000", "--json", (scratch / "found.json").string()}),
                      scratch / "log");
    const auto said = [&] {
        std::ifstream log(scratch / "log");
        return std::string(std::istreambuf_iterator<char>(log), {});
    };
    for (int i = 0; i < 600 && said().find("range test: one") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    job.send(SIGUSR1);
    EXPECT_EQ(job.wait(60), 75) << said();
    EXPECT_THAT(said(), HasSubstr("stopped on a signal"));
    EXPECT_FALSE(fs::exists(scratch / "found.json"));
}

}  // namespace
}  // namespace strata::testing_support
