// strata bench step as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A folder with no more than the parity fixture's config.json.
std::string shapes(const ScratchFolder& scratch) {
    fs::create_directories(scratch / "shapes");
    fs::copy_file(fs::path(parity("tiny_bert")) / "config.json", scratch / "shapes/config.json",
                  fs::copy_options::overwrite_existing);
    return (scratch / "shapes").string();
}

nlohmann::json measured(int ranks, const ScratchFolder& scratch, const std::vector<std::string>& more) {
    const fs::path json = scratch / ("bench-" + std::to_string(ranks) + ".json");
    const JobResult job = run_strata(ranks, with({"bench", "step", "--steps", "6", "--json", json.string()}, more));
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, AllOf(HasSubstr("tokens/s"), HasSubstr("backward"), HasSubstr("Arithmetic:"),
                                  HasSubstr("the plan says")));
    return read_json(json);
}

double sum_of_parts(const nlohmann::json& seconds) {
    double sum = 0;
    for (const auto& [name, value] : seconds.items()) sum += name == "whole" ? 0.0 : value.get<double>();
    return sum;
}

std::set<std::string> operators_in(const nlohmann::json& bench, const std::string& part) {
    std::set<std::string> names;
    for (const auto& each : bench["operators"]) {
        if (each["part"] == part) names.insert(each["name"]);
    }
    return names;
}

TEST(BenchStep, says_where_the_time_of_a_fixed_length_goes) {
    const ScratchFolder scratch;
    for (const int ranks : {0, 2}) {
        const std::string batch = ranks == 2 ? "16" : "32";
        const auto bench = measured(ranks, scratch,
                                    {"--model_name_or_path", shapes(scratch), "--max_seq_length", "40",
                                     "--per_device_train_batch_size", batch, "--bf16", "false"});
        EXPECT_EQ(bench["ranks"], std::max(1, ranks));
        EXPECT_EQ(bench["steps"], 6);
        EXPECT_EQ(bench["precision"], "fp32");
        EXPECT_EQ(bench["samples_per_step"], 32);
        EXPECT_EQ(bench["tokens_per_step"], 32 * 40);
        const auto& seconds = bench["seconds"];
        for (const char* part : {"input", "forward", "backward", "update"})
            EXPECT_GT(seconds[part].get<double>(), 0) << part;
        EXPECT_NEAR(sum_of_parts(seconds) / seconds["whole"].get<double>(), 1.0, 1e-6) << ranks;
        EXPECT_THAT(operators_in(bench, "forward"),
                    testing::IsSupersetOf({"addmm", "PackedAttention", "ResidualNorm"}));
        EXPECT_THAT(operators_in(bench, "backward"), testing::IsSupersetOf({"mm", "addmm_", "PackedAttention"}));
        const auto& speed = bench["tokens_per_second"];
        EXPECT_LE(speed["least"], speed["median"]);
        EXPECT_LE(speed["median"], speed["most"]);
        // 2 layers for 1,280 tokens and one for 32, of 4 x 32 x 32 + 2 x 32 x 64 weights, 6 operations each; pairs of
        // tokens, 12 a column; key and value of the last layer; pooler and head.
        const double linear = 6.0 * (2 * 1280 * 8192 + 32 * (8192 - 2048) + 1280 * 2048 + 32 * (1024 + 64));
        const double pairs = 12.0 * 32 * (2 * 32 * 40 * 40 + 1280);
        EXPECT_EQ(bench["limit"]["operations"], linear + pairs);
        EXPECT_GT(bench["limit"]["operations_per_second"], 1e8);
        EXPECT_GT(bench["memory"]["planned_bytes"], bench["memory"]["activation_bytes"]);
        const double tensors = bench["memory"]["tensor_bytes"];
        EXPECT_NEAR(tensors / bench["memory"]["activation_bytes"].get<double>(), 1.0, 0.15);
    }
}

TEST(BenchStep, takes_the_lengths_of_a_file_and_the_precision_and_plan_of_a_run) {
    const ScratchFolder scratch;
    const auto bench =
        measured(2, scratch,
                 {"--model_name_or_path", parity("tiny_bert"), "--train_file", parity("train.tsv"), "--max_seq_length",
                  "48", "--per_device_train_batch_size", "8", "--bf16", "true", "--config",
                  scratch.write("stages.toml", three_stages), "--layer_decay", "0.8", "--max_steps", "20"});
    EXPECT_EQ(bench["precision"], "bf16");
    EXPECT_EQ(bench["samples_per_step"], 16);
    EXPECT_LT(bench["tokens_per_step"], 16 * 48);
    EXPECT_GT(bench["tokens_per_step"], 16 * 3);
    EXPECT_THAT(operators_in(bench, "backward"), testing::Not(testing::Contains("PackedAttention")))
        << "the first stage trains the head alone";
}

TEST(BenchStep, writes_what_it_was_asked_for_and_nothing_else) {
    const ScratchFolder scratch;
    const std::string model = shapes(scratch);
    const std::string config = scratch.write("run.toml", "output_dir = \"" + (scratch / "run").string() + "\"\n");
    measured(2, scratch, {"--model_name_or_path", model, "--config", config});
    std::set<std::string> left;
    for (const auto& entry : fs::recursive_directory_iterator(scratch.path()))
        left.insert(fs::relative(entry.path(), scratch.path()));
    EXPECT_THAT(left, testing::ElementsAre("bench-2.json", "run.toml", "shapes", "shapes/config.json"));
}

TEST(BenchStep, refuses_what_makes_no_sense) {
    const ScratchFolder scratch;
    const std::string model = shapes(scratch);
    const auto refusal = [&](const std::vector<std::string>& more) {
        const JobResult job = run_strata(2, with({"bench", "step"}, more));
        EXPECT_EQ(job.exit_code, 2) << job.output;
        EXPECT_EQ(job.output.find("strata: "), job.output.rfind("strata: ")) << "one message:\n" << job.output;
        return job.output;
    };
    EXPECT_THAT(refusal({}), HasSubstr("name a folder with a config.json"));
    EXPECT_THAT(refusal({"--model_name_or_path", scratch.path().string()}), HasSubstr("config.json"));
    EXPECT_THAT(refusal({"--model_name_or_path", model, "--steps", "0"}), HasSubstr("steps is 0"));
    EXPECT_THAT(refusal({"--model_name_or_path", model, "--max_seq_length", "65"}), HasSubstr("only 64 positions"));
    EXPECT_THAT(refusal({"--model_name_or_path", model, "--json", (scratch / "no/such.json").string()}),
                HasSubstr("there is no folder"));
    EXPECT_THAT(refusal({"--torchscript", "module.pt"}), HasSubstr("not an option of this command"));
    EXPECT_THAT(refusal({"--config", scratch.write("module.toml", "torchscript = \"module.pt\"\n")}),
                HasSubstr("name a folder with a config.json"));
}

}  // namespace
}  // namespace strata::testing_support
