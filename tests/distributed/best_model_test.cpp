// load_best_model_at_end: the run ends with the checkpoint whose evaluation was the best, cut in two or not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// The fixture's run, evaluated and saved after each fourth update, at a rate that makes the loss rise again.
std::vector<std::string> best_run(int ranks, const fs::path& output_dir, const std::vector<std::string>& more = {}) {
    return with(
        with(parity_run(ranks, output_dir), {"--eval_strategy", "steps", "--eval_steps", "4", "--save_steps", "4",
                                             "--learning_rate", "5e-3", "--load_best_model_at_end", "true"}),
        more);
}

/// The step of the best evaluation, told from the log alone: the first of equals.
std::int64_t best_step(const fs::path& run, const std::string& metric, bool greater) {
    std::int64_t step = -1;
    double best = 0;
    for (const auto& line : read_lines(run / "evaluations.jsonl")) {
        const double value = line[metric];
        if (step >= 0 && !(greater ? value > best : value < best)) continue;
        best = value;
        step = line["step"];
    }
    return step;
}

std::string checkpoint(const fs::path& run, std::int64_t step) {
    return (run / ("checkpoint-" + std::to_string(step))).string();
}

void expect_ends_with_best(const fs::path& run, const std::string& metric, bool greater) {
    const std::int64_t best = best_step(run, metric, greater);
    EXPECT_EQ(bytes_of(run / "model.safetensors"), bytes_of(fs::path(checkpoint(run, best)) / "model.safetensors"));
    const auto state = read_json(fs::path(checkpoint(run, 20)) / "trainer_state.json");
    EXPECT_EQ(state["best_model_checkpoint"], checkpoint(run, best));
    for (const auto& line : read_lines(run / "evaluations.jsonl")) {
        if (line["step"] != best) continue;
        EXPECT_EQ(state["best_metric"], line[metric]);
        EXPECT_EQ(read_json(run / "all_results.json")[metric], line[metric]) << "the end evaluates the best model";
    }
}

TEST(BestModel, the_run_ends_with_the_checkpoint_of_the_lowest_loss) {
    const ScratchFolder scratch;
    const JobResult job = run_strata(2, best_run(2, scratch / "run"));
    expect_success(job);
    const std::int64_t best = best_step(scratch / "run", "eval_loss", false);
    ASSERT_LT(best, 20) << "the fixture's rate should make the last evaluation a worse one";
    EXPECT_EQ(read_lines(scratch / "run/evaluations.jsonl").size(), 5U);
    expect_ends_with_best(scratch / "run", "eval_loss", false);
    EXPECT_THAT(job.output, HasSubstr("the best model is " + checkpoint(scratch / "run", best) + ": eval_loss"));
}

TEST(BestModel, another_metric_counts_upwards_unless_told) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, best_run(2, scratch / "up", {"--metric_for_best_model", "accuracy"})));
    expect_ends_with_best(scratch / "up", "eval_accuracy", true);
    expect_success(run_strata(
        2, best_run(2, scratch / "down", {"--metric_for_best_model", "eval_loss", "--greater_is_better", "true"})));
    expect_ends_with_best(scratch / "down", "eval_loss", true);
}

TEST(BestModel, a_run_cut_in_two_knows_the_best_of_its_first_part) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, best_run(2, scratch / "whole")));
    expect_success(run_strata(2, best_run(2, scratch / "run")));
    for (const int step : {16, 20}) fs::remove_all(checkpoint(scratch / "run", step));
    expect_success(run_strata(2, best_run(2, scratch / "run", {"--resume_from_checkpoint", "auto"})));
    expect_ends_with_best(scratch / "run", "eval_loss", false);
    expect_equal_runs(scratch / "whole", scratch / "run");
}

TEST(BestModel, rotation_keeps_the_newest_and_the_best) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, best_run(2, scratch / "run", {"--save_total_limit", "1"})));
    const std::int64_t best = best_step(scratch / "run", "eval_loss", false);
    for (const int step : {4, 8, 12, 16, 20}) {
        EXPECT_EQ(fs::exists(checkpoint(scratch / "run", step)), step == best || step == 20) << step;
    }
    expect_ends_with_best(scratch / "run", "eval_loss", false);
}

TEST(BestModel, a_metric_alone_keeps_the_best_and_ends_with_the_last) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, best_run(2, scratch / "run",
                                          {"--load_best_model_at_end", "false", "--metric_for_best_model", "loss",
                                           "--save_total_limit", "1"})));
    const std::int64_t best = best_step(scratch / "run", "eval_loss", false);
    EXPECT_TRUE(fs::exists(checkpoint(scratch / "run", best)));
    EXPECT_EQ(bytes_of(scratch / "run/model.safetensors"), bytes_of(scratch / "run/checkpoint-20/model.safetensors"));
}

TEST(BestModel, a_best_checkpoint_that_is_gone_or_damaged_is_not_passed_over_in_silence) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, best_run(2, scratch / "run")));
    const std::string best = checkpoint(scratch / "run", best_step(scratch / "run", "eval_loss", false));
    fs::resize_file(best + "/model.safetensors", 100);
    const JobResult damaged = run_strata(2, best_run(2, scratch / "run", {"--resume_from_checkpoint", "auto"}));
    EXPECT_EQ(damaged.exit_code, 1) << damaged.output;
    EXPECT_THAT(damaged.output, testing::AllOf(HasSubstr(best + "/model.safetensors"), HasSubstr("cannot be loaded")));
    fs::remove_all(best);
    const JobResult gone = run_strata(2, best_run(2, scratch / "run", {"--resume_from_checkpoint", "auto"}));
    expect_success(gone);
    EXPECT_THAT(gone.output, HasSubstr(best + ", the best model so far, is gone"));
}

TEST(BestModel, what_does_not_match_is_refused_before_anything_is_written) {
    const ScratchFolder scratch;
    for (const auto& [more, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
             {{"--eval_strategy", "epoch"}, "eval_strategy is \"epoch\" and save_strategy is \"steps\""},
             {{"--save_steps", "6"}, "save_steps 6 is not a multiple of eval_steps 4"},
             {{"--eval_strategy", "no", "--save_strategy", "no"}, "are \"no\""},
             {{"--metric_for_best_model", "acuracy"}, "Did you mean 'eval_accuracy'?"},
             {{"--validation_file", ""}, "name a validation_file"}}) {
        const JobResult job = run_strata(1, best_run(1, scratch / "run", more));
        EXPECT_EQ(job.exit_code, 2) << job.output;
        EXPECT_THAT(job.output, HasSubstr(text));
        EXPECT_FALSE(fs::exists(scratch / "run"));
    }
}

}  // namespace
}  // namespace strata::testing_support
