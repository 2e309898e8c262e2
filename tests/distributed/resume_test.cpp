// A run cut in two is the run that was not cut: bit for bit on equal ranks, and goes on on any other number.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;

/// Dropout and shuffling on, so that their state would show if it were lost; saves fall between logged steps.
std::vector<std::string> noisy_run(int ranks, const fs::path& output_dir) {
    return with(parity_run(ranks, output_dir),
                {"--hidden_dropout_prob", "0.1", "--attention_probs_dropout_prob", "0.1", "--shuffle", "true",
                 "--save_steps", "7", "--logging_steps", "3", "--eval_steps", "5"});
}

class ResumeRanks : public testing::TestWithParam<int> {};

TEST_P(ResumeRanks, cut_run_equals_uncut_run_bit_for_bit) {
    const ScratchFolder scratch;
    expect_success(run_strata(GetParam(), noisy_run(GetParam(), scratch / "whole")));
    expect_success(run_strata(GetParam(), noisy_run(GetParam(), scratch / "cut")));
    fs::remove_all(scratch / "cut/checkpoint-20");  // as if it had died after update 14's checkpoint
    fs::remove_all(scratch / "cut/checkpoint-7");
    fs::remove(scratch / "cut/model.safetensors");
    expect_success(
        run_strata(GetParam(), with(noisy_run(GetParam(), scratch / "cut"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

INSTANTIATE_TEST_SUITE_P(Resume, ResumeRanks, testing::Values(1, 2, 3));

/// Saved inside a stage or at its border, resumed there: groups that thaw in between start as they would have.
class ResumeStages : public testing::TestWithParam<int> {};

TEST_P(ResumeStages, a_run_cut_in_any_stage_equals_the_uncut_run_bit_for_bit) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml", three_stages);
    const auto run = [&](const char* name) {
        return with(noisy_run(2, scratch / name), {"--config", stages, "--save_steps", "1"});
    };
    expect_success(run_strata(2, run("whole")));
    expect_success(run_strata(2, run("cut")));
    for (int step = GetParam() + 1; step <= 20; ++step)
        fs::remove_all(scratch / ("cut/checkpoint-" + std::to_string(step)));
    const auto resumed = run_strata(2, with(run("cut"), {"--resume_from_checkpoint", "auto"}));
    expect_success(resumed);
    EXPECT_NE(resumed.output.find("at update " + std::to_string(GetParam())), std::string::npos) << resumed.output;
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

// The stages end at updates 6 and 13.
INSTANTIATE_TEST_SUITE_P(Resume, ResumeStages, testing::Values(4, 6, 9, 13, 17));

/// The head alone for nearly two epochs; a run that goes on in the second keeps what it meets.
TEST(Resume, kept_outputs_of_a_frozen_backbone_change_no_bit) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml", "[[stage]]\nlength = \"15u\"\nfreeze_to = -1\n[[stage]]\n");
    const auto run = [&](const char* name, const char* cache) {
        return with(noisy_run(2, scratch / name), {"--config", stages, "--cache_frozen", cache});
    };
    const auto whole = run_strata(2, run("whole", "auto"));
    expect_success(whole);
    EXPECT_NE(whole.output.find("outputs of the frozen backbone kept: 96 samples, 12.0 KiB"), std::string::npos)
        << whole.output;
    expect_success(run_strata(2, run("plain", "false")));
    expect_equal_runs(scratch / "whole", scratch / "plain");
    expect_success(run_strata(2, run("cut", "true")));
    fs::remove_all(scratch / "cut/checkpoint-20");
    expect_success(run_strata(2, with(run("cut", "true"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

/// Messages under the backward pass and the next forward pass, through stages, evaluations and saves.
TEST(Overlap, changes_no_bit) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml", three_stages);
    for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
             {}, {"--config", stages}, {"--shard", "node", "--ranks_per_host", "1"}}) {
        const auto run = [&](const char* name, const char* overlap) {
            return with(with(noisy_run(3, scratch / name), more), {"--overlap_comm", overlap});
        };
        expect_success(run_strata(3, run("on", "true")));
        expect_success(run_strata(3, run("off", "false")));
        expect_equal_runs(scratch / "on", scratch / "off");
        fs::remove_all(scratch / "on");
        fs::remove_all(scratch / "off");
    }
}

class ResumeElsewhere : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(ResumeElsewhere, another_number_of_ranks_goes_on) {
    const auto [before, after] = GetParam();
    const ScratchFolder scratch;
    expect_success(run_strata(before, noisy_run(before, scratch / "run")));
    const auto whole = history(scratch / "run/metrics.jsonl");
    fs::remove_all(scratch / "run/checkpoint-20");
    expect_success(run_strata(after, with(noisy_run(after, scratch / "run"), {"--resume_from_checkpoint", "auto"})));
    const auto resumed = history(scratch / "run/metrics.jsonl");
    ASSERT_EQ(resumed.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
        const double loss = whole[i]["loss"];
        EXPECT_NEAR(resumed[i]["loss"].get<double>(), loss, 1e-5 * loss) << whole[i]["step"];
        EXPECT_EQ(resumed[i]["lr"], whole[i]["lr"]);
    }
}

INSTANTIATE_TEST_SUITE_P(Resume, ResumeElsewhere,
                         testing::Values(std::pair{1, 3}, std::pair{2, 1}, std::pair{3, 4}, std::pair{4, 2}));

TEST(Resume, auto_starts_from_the_beginning_where_there_is_nothing) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, with(parity_run(2, scratch / "run"), {"--resume_from_checkpoint", "auto"})));
    EXPECT_EQ(read_lines(scratch / "run/metrics.jsonl").size(), 20u);
}

/// A run's file says what the run is, and not how one start of it treated what lay in its folder.
TEST(Resume, leaves_a_file_that_begins_a_run_of_its_own) {
    const ScratchFolder scratch;
    const std::string file = (scratch / "run/config.toml").string();
    const auto run = parity_run(2, scratch / "run");
    expect_success(run_strata(2, with(run, {"--resume_from_checkpoint", "auto", "--allow_changes", "true"})));
    const std::string other = (scratch / "other").string();
    fs::create_directories(other);
    fs::copy(scratch / "run/metrics.jsonl", other);  // a run that saved no checkpoint
    const auto elsewhere = run_strata(2, {"train", "--config", file, "--output_dir", other});
    EXPECT_EQ(elsewhere.exit_code, 2);
    EXPECT_NE(elsewhere.output.find("holds another run"), std::string::npos) << elsewhere.output;
    EXPECT_TRUE(fs::exists(scratch / "other/metrics.jsonl"));
    const auto changed =
        run_strata(2, {"train", "--config", file, "--resume_from_checkpoint", "auto", "--learning_rate", "7e-4"});
    EXPECT_EQ(changed.exit_code, 2);
    EXPECT_NE(changed.output.find("was made with another configuration"), std::string::npos) << changed.output;

    expect_success(run_strata(2, with(run, {"--overwrite_output_dir", "true"})));
    expect_success(run_strata(2, {"train", "--config", file, "--resume_from_checkpoint", "auto"}));
}

TEST(Resume, of_a_finished_run_keeps_what_it_said_of_its_training) {
    const ScratchFolder scratch;
    const auto run = with(parity_run(2, scratch / "run"), {"--resume_from_checkpoint", "auto"});
    expect_success(run_strata(2, run));
    const auto of_training = [&] {
        auto all = read_json(scratch / "run/all_results.json");
        std::erase_if(all.get_ref<nlohmann::json::object_t&>(),
                      [](const auto& entry) { return !entry.first.starts_with("train_"); });
        return std::pair(read_json(scratch / "run/train_results.json"), all);
    };
    const auto first = of_training();
    EXPECT_GT(first.first["train_runtime"], 0);
    const JobResult again = run_strata(2, run);
    expect_success(again);
    EXPECT_NE(again.output.find("at update 20, the run's last: nothing is left to train"), std::string::npos);
    EXPECT_EQ(of_training(), first);

    // Killed between its last checkpoint and its results, of which there are an earlier run's: their time is not its.
    auto earlier = first.first;
    earlier["train_steps"] = 10;
    std::ofstream(scratch / "run/train_results.json") << earlier;
    expect_success(run_strata(2, run));
    const auto results = read_json(scratch / "run/train_results.json");
    EXPECT_EQ(results["train_steps"], 20);
    EXPECT_FALSE(results.contains("train_runtime")) << results;
}

TEST(Resume, auto_leaves_a_finished_run_without_checkpoints_alone) {
    const ScratchFolder scratch;
    const auto run = with(parity_run(1, scratch / "run"), {"--save_strategy", "no"});
    expect_success(run_strata(1, run));
    const JobResult again = run_strata(1, with(run, {"--resume_from_checkpoint", "auto"}));
    EXPECT_EQ(again.exit_code, 2);
    EXPECT_NE(again.output.find("holds a finished run without checkpoints"), std::string::npos) << again.output;
    EXPECT_TRUE(fs::exists(scratch / "run/model.safetensors"));
    fs::remove(scratch / "run/train_results.json");  // as if it had died
    expect_success(run_strata(1, with(run, {"--resume_from_checkpoint", "auto"})));
}

TEST(Resume, auto_passes_over_a_damaged_checkpoint_and_says_so) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, noisy_run(2, scratch / "run")));
    {
        std::fstream file(scratch / "run/checkpoint-20/state.h5", std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(fs::file_size(scratch / "run/checkpoint-20/state.h5") / 2));
        file.put('\x5a').put('\x5a').put('\x5a');
    }
    const JobResult job = run_strata(2, with(noisy_run(2, scratch / "run"), {"--resume_from_checkpoint", "auto"}));
    expect_success(job);
    EXPECT_NE(job.output.find("checkpoint-20"), std::string::npos) << job.output;
    EXPECT_NE(job.output.find("at update 14"), std::string::npos) << job.output;
}

TEST(Resume, a_signal_saves_and_stops_with_75_and_the_run_goes_on) {
    const ScratchFolder scratch;
    const auto flags = with(parity_run(2, scratch / "run"), {"--max_steps", "100000", "--save_strategy", "no"});
    BackgroundJob job(2, flags, scratch / "log");
    while (!fs::exists(scratch / "run/metrics.jsonl") && job.wait(0.05) < 0) {
    }
    job.send(SIGUSR1);  // mpirun hands it on and then tells the ranks' exit code; on SIGTERM it tells its own
    ASSERT_EQ(job.wait(60), 75) << bytes_of(scratch / "log");
    const auto last = read_lines(scratch / "run/metrics.jsonl").back()["step"].get<std::int64_t>();
    ASSERT_TRUE(fs::exists(scratch / ("run/checkpoint-" + std::to_string(last))));
    BackgroundJob again(2, with(flags, {"--resume_from_checkpoint", "auto"}), scratch / "log");
    while (read_lines(scratch / "run/metrics.jsonl").back()["step"].get<std::int64_t>() <= last &&
           again.wait(0.05) < 0) {
    }
    again.send(SIGUSR1);
    EXPECT_EQ(again.wait(60), 75) << bytes_of(scratch / "log");
}

TEST(Resume, old_checkpoints_are_rotated_away) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, with(noisy_run(2, scratch / "run"), {"--save_total_limit", "2"})));
    EXPECT_FALSE(fs::exists(scratch / "run/checkpoint-7"));
    EXPECT_TRUE(fs::exists(scratch / "run/checkpoint-14"));
    EXPECT_TRUE(fs::exists(scratch / "run/checkpoint-20"));
}

}  // namespace
}  // namespace strata::testing_support
