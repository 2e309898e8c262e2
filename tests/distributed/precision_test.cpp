// Whole runs in bf16 and fp16: near fp32's, as exact about resuming, and saved in fp32.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "apps/strata/precision.h"
#include "dist/checkpoint.h"
#include "models/safetensors.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> run_in(const std::string& flag, int ranks, const fs::path& output_dir) {
    return with(parity_run(ranks, output_dir), {"--bf16", "false", flag, "true"});
}

/// The same with dropout and shuffling, and checkpoints at updates 7, 14 and 20.
std::vector<std::string> noisy_run_in(const std::string& flag, int ranks, const fs::path& output_dir) {
    return with(run_in(flag, ranks, output_dir),
                {"--hidden_dropout_prob", "0.1", "--shuffle", "true", "--save_steps", "7", "--logging_steps", "3"});
}

void expect_losses_near(const std::vector<nlohmann::json>& lines, const std::vector<nlohmann::json>& reference,
                        double tolerance) {
    ASSERT_EQ(lines.size(), reference.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const double loss = reference[i]["loss"];
        EXPECT_NEAR(lines[i]["loss"].get<double>(), loss, tolerance * loss) << lines[i]["step"];
    }
}

std::vector<nlohmann::json> reference_losses() {
    return read_json(parity("reference.json"))["steps"].get<std::vector<nlohmann::json>>();
}

class Bf16Ranks : public testing::TestWithParam<int> {};

TEST_P(Bf16Ranks, a_run_is_near_pytorchs_fp32_and_saves_fp32) {
    const ScratchFolder scratch;
    const JobResult job = run_strata(GetParam(), run_in("--bf16", GetParam(), scratch / "run"));
    expect_success(job);
    EXPECT_NE(job.output.find("precision: bf16, as bf16 says"), std::string::npos) << job.output;
    expect_losses_near(read_lines(scratch / "run/metrics.jsonl"), reference_losses(), 0.02);
    const models::SafetensorsFile final_model(scratch / "run/model.safetensors");
    const models::SafetensorsFile checkpoint(scratch / "run/checkpoint-20/model.safetensors");
    bool beyond_bf16 = false;
    for (const auto& [name, info] : final_model.tensors()) {
        EXPECT_EQ(info.dtype, torch::kFloat32) << name;
        const torch::Tensor weight = final_model.load(name);
        EXPECT_TRUE(torch::equal(weight, checkpoint.load(name))) << name;
        beyond_bf16 = beyond_bf16 || !torch::equal(weight, weight.to(torch::kBFloat16).to(torch::kFloat32));
    }
    EXPECT_TRUE(beyond_bf16) << "masters, not what the network computes with";
}

INSTANTIATE_TEST_SUITE_P(Precision, Bf16Ranks, testing::Values(1, 2, 4));

class Cut : public testing::TestWithParam<std::string> {};

TEST_P(Cut, a_run_cut_in_two_equals_the_uncut_run_bit_for_bit) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, noisy_run_in(GetParam(), 2, scratch / "whole")));
    expect_success(run_strata(2, noisy_run_in(GetParam(), 2, scratch / "cut")));
    fs::remove_all(scratch / "cut/checkpoint-20");
    expect_success(
        run_strata(2, with(noisy_run_in(GetParam(), 2, scratch / "cut"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

INSTANTIATE_TEST_SUITE_P(Precision, Cut, testing::Values("--bf16", "--fp16"));

TEST(Precision, a_bf16_run_of_four_ranks_goes_on_with_two) {
    const ScratchFolder scratch;
    expect_success(run_strata(4, noisy_run_in("--bf16", 4, scratch / "run")));
    const auto whole = history(scratch / "run/metrics.jsonl");
    fs::remove_all(scratch / "run/checkpoint-20");
    expect_success(
        run_strata(2, with(noisy_run_in("--bf16", 2, scratch / "run"), {"--resume_from_checkpoint", "auto"})));
    expect_losses_near(history(scratch / "run/metrics.jsonl"), whole, 0.01);
}

/// In bf16 without masters, as noisy_run_in().
std::vector<std::string> rounded_run(int ranks, const fs::path& output_dir) {
    return with(noisy_run_in("--bf16", ranks, output_dir), {"--stochastic_rounding", "true"});
}

TEST(StochasticRounding, a_run_learns_and_saves_what_it_computes_with) {
    const ScratchFolder scratch;
    const JobResult job = run_strata(
        2, with(run_in("--bf16", 2, scratch / "run"), {"--stochastic_rounding", "true", "--async_save", "false"}));
    expect_success(job);
    EXPECT_THAT(job.output, HasSubstr("as bf16 says; updates round weights stochastically, moments stay fp32"));
    EXPECT_THAT(job.output, HasSubstr("bf16 rounded stochastically"));
    EXPECT_EQ(read_json(scratch / "run/plan.json")["stochastic_rounding"], true);
    const auto lines = read_lines(scratch / "run/metrics.jsonl");
    expect_losses_near(lines, reference_losses(), 0.05);
    EXPECT_LT(lines.back()["loss"].get<double>(), lines.front()["loss"].get<double>());
    const models::SafetensorsFile saved(scratch / "run/checkpoint-20/model.safetensors");
    const models::SafetensorsFile final_model(scratch / "run/model.safetensors");
    for (const auto& [name, info] : saved.tensors()) {
        EXPECT_EQ(info.dtype, torch::kFloat32) << name;
        const torch::Tensor weight = saved.load(name);
        EXPECT_TRUE(torch::equal(weight, final_model.load(name))) << name;
        EXPECT_TRUE(torch::equal(weight, weight.to(torch::kBFloat16).to(torch::kFloat32))) << name;
    }
}

/// Saved beside training and while it stands still; gone on with by another number of ranks.
TEST(StochasticRounding, a_run_cut_in_two_equals_the_uncut_run_on_any_number_of_ranks) {
    const ScratchFolder scratch;
    const auto run = [&](int ranks, const char* name, const char* async_save) {
        return with(rounded_run(ranks, scratch / name), {"--per_device_train_batch_size", "3", "--deterministic",
                                                         "true", "--micro_batches", "4", "--async_save", async_save});
    };
    expect_success(run_strata(1, run(1, "whole", "true")));
    for (const char* async_save : {"true", "false"}) {
        expect_success(run_strata(3, run(3, async_save, async_save)));
        expect_equal_state(scratch / "whole/checkpoint-20", scratch / async_save / "checkpoint-20");
        fs::remove_all(scratch / async_save / "checkpoint-20");
        fs::remove(scratch / async_save / "model.safetensors");
        expect_success(run_strata(2, with(run(2, async_save, async_save), {"--resume_from_checkpoint", "auto"})));
        expect_equal_state(scratch / "whole/checkpoint-20", scratch / async_save / "checkpoint-20");
        EXPECT_EQ(bytes_of(scratch / "whole/model.safetensors"), bytes_of(scratch / async_save / "model.safetensors"));
    }
}

TEST(StochasticRounding, hosts_that_share_a_state_write_and_read_their_shares) {
    const ScratchFolder scratch;
    const auto run = [&](const char* name) {
        return with(rounded_run(4, scratch / name), {"--shard", "node", "--ranks_per_host", "2"});
    };
    expect_success(run_strata(4, run("whole")));
    expect_success(run_strata(4, run("cut")));
    fs::remove_all(scratch / "cut/checkpoint-20");
    expect_success(run_strata(4, with(run("cut"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

TEST(StochasticRounding, stages_thaw_groups_and_a_resume_at_their_border_goes_on) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml", "[[stage]]\nlength = \"14u\"\nfreeze_to = -1\n[[stage]]\n");
    const auto run = [&](const char* name) { return with(rounded_run(2, scratch / name), {"--config", stages}); };
    expect_success(run_strata(2, run("whole")));
    expect_success(run_strata(2, run("cut")));
    fs::remove_all(scratch / "cut/checkpoint-20");
    expect_success(run_strata(2, with(run("cut"), {"--resume_from_checkpoint", "auto"})));
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

/// A run cut at update 14 goes on with another value of `option` only where changes are allowed, and then ends near the
/// run that was not cut.
void expect_goes_on_where_allowed(const std::string& option, const std::string& before, const std::string& after,
                                  const std::string& said, double tolerance) {
    const ScratchFolder scratch;
    const auto run = [&](const std::string& value) {
        return with(noisy_run_in("--bf16", 2, scratch / "run"), {"--" + option, value});
    };
    expect_success(run_strata(2, run(before)));
    const auto whole = history(scratch / "run/metrics.jsonl");
    fs::remove_all(scratch / "run/checkpoint-20");
    const auto resumed = with(run(after), {"--resume_from_checkpoint", "auto"});
    const JobResult refused = run_strata(2, resumed);
    EXPECT_EQ(refused.exit_code, 2) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr(said));
    expect_success(run_strata(2, with(resumed, {"--allow_changes", "true"})));
    expect_losses_near(history(scratch / "run/metrics.jsonl"), whole, tolerance);
}

class Masters : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Masters, may_go_and_come_where_changes_are_allowed) {
    const auto& [before, after] = GetParam();
    expect_goes_on_where_allowed("stochastic_rounding", before, after,
                                 "\n  stochastic_rounding: " + before + " in the checkpoint", 0.05);
}

INSTANTIATE_TEST_SUITE_P(StochasticRounding, Masters,
                         testing::Values(std::pair{"true", "false"}, std::pair{"false", "true"}));

class Change : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Change, a_run_goes_on_in_another_precision_where_changes_are_allowed) {
    const auto& [before, after] = GetParam();
    expect_goes_on_where_allowed("bf16", before, after, "\n  bf16: ", 0.02);
}

INSTANTIATE_TEST_SUITE_P(Precision, Change, testing::Values(std::pair{"true", "false"}, std::pair{"false", "true"}));

TEST(Precision, a_deterministic_bf16_run_has_the_same_bits_on_any_number_of_ranks) {
    const ScratchFolder scratch;
    const auto run = [&](int ranks, const char* name) {
        return with(noisy_run_in("--bf16", ranks, scratch / name),
                    {"--per_device_train_batch_size", "3", "--deterministic", "true", "--micro_batches", "4"});
    };
    expect_success(run_strata(1, run(1, "one")));
    expect_success(run_strata(3, run(3, "three")));
    EXPECT_EQ(bytes_of(scratch / "one/model.safetensors"), bytes_of(scratch / "three/model.safetensors"));
    expect_equal_state(scratch / "one/checkpoint-20", scratch / "three/checkpoint-20");
}

TEST(Precision, kept_outputs_of_a_frozen_backbone_change_no_bit_in_bf16) {
    const ScratchFolder scratch;
    const std::string stages = scratch.write("stages.toml", "[[stage]]\nlength = \"15u\"\nfreeze_to = -1\n[[stage]]\n");
    for (const char* cache : {"true", "false"}) {
        expect_success(run_strata(
            2, with(noisy_run_in("--bf16", 2, scratch / cache), {"--config", stages, "--cache_frozen", cache})));
    }
    expect_equal_runs(scratch / "true", scratch / "false");
}

TEST(Precision, the_best_model_of_a_bf16_run_is_its_masters) {
    const ScratchFolder scratch;
    // Training makes the loss less, so that the greatest is not the last.
    expect_success(run_strata(
        2, with(run_in("--bf16", 2, scratch / "run"),
                {"--eval_strategy", "steps", "--eval_steps", "5", "--save_steps", "5", "--load_best_model_at_end",
                 "true", "--metric_for_best_model", "loss", "--greater_is_better", "true"})));
    const auto state = read_json(scratch / "run/checkpoint-20/trainer_state.json");
    const fs::path best = state["best_model_checkpoint"].get<std::string>();
    ASSERT_NE(best.filename(), "checkpoint-20");
    EXPECT_EQ(bytes_of(scratch / "run/model.safetensors"), bytes_of(best / "model.safetensors"));
}

TEST(Precision, fp16_scales_the_loss_and_says_so) {
    const ScratchFolder scratch;
    const JobResult job = run_strata(2, run_in("--fp16", 2, scratch / "run"));
    expect_success(job);
    const auto lines = read_lines(scratch / "run/metrics.jsonl");
    ASSERT_EQ(lines.size(), 20u);
    EXPECT_EQ(lines.front()["loss_scale"], 65536.0);
    const std::int64_t skipped = lines.back().value("skipped_steps", 0);
    EXPECT_EQ(lines.back()["loss_scale"].get<double>(), 65536.0 / std::pow(2.0, skipped));
    EXPECT_LT(lines.back()["loss"].get<double>(), lines.front()["loss"].get<double>());
}

/// What `auto` is on this machine's processor.
std::string chosen() {
    return app::processor_bf16().has ? "bf16" : "fp32";
}

TEST(Precision, by_default_what_computes_decides_and_the_log_says_why) {
    const ScratchFolder scratch;
    const JobResult job = run_strata(2, with(run_by_default(2, scratch / "run"), {"--device", "cpu"}));
    expect_success(job);
    EXPECT_NE(job.output.find("precision: " + chosen() + ", since "), std::string::npos) << job.output;
    expect_losses_near(read_lines(scratch / "run/metrics.jsonl"), reference_losses(), 0.02);
    EXPECT_EQ(read_json(scratch / "run/plan.json")["compute_type"], chosen());
    const std::string saved = chosen() == "bf16" ? "\nbf16 = 'true'\n" : "\nbf16 = 'false'\n";
    EXPECT_NE(bytes_of(scratch / "run/config.toml").find(saved), std::string::npos);
    EXPECT_NE(dist::open_checkpoint_state(scratch / "run/checkpoint-20").header().effective_config.find(saved),
              std::string::npos);
}

class GoesOn : public testing::TestWithParam<std::string> {};

TEST_P(GoesOn, by_default_in_the_precision_of_the_checkpoint) {
    const ScratchFolder scratch;
    const auto run = [&](const char* name) { return with(run_by_default(2, scratch / name), {"--save_steps", "7"}); };
    expect_success(run_strata(2, with(run("whole"), {"--bf16", GetParam()})));
    expect_success(run_strata(2, with(run("cut"), {"--bf16", GetParam()})));
    fs::remove_all(scratch / "cut/checkpoint-20");
    const JobResult resumed = run_strata(2, with(run("cut"), {"--resume_from_checkpoint", "auto"}));
    expect_success(resumed);
    const std::string type = GetParam() == "true" ? "bf16" : "fp32";
    EXPECT_NE(resumed.output.find("precision: " + type + ", as the checkpoint has it"), std::string::npos)
        << resumed.output;
    expect_equal_runs(scratch / "whole", scratch / "cut");
}

INSTANTIATE_TEST_SUITE_P(Precision, GoesOn, testing::Values("true", "false"));

TEST(Precision, a_plan_a_range_test_and_a_bench_decide_as_a_run_does) {
    const ScratchFolder scratch;
    const std::vector<std::string> model = {"--device", "cpu", "--model_name_or_path", parity("tiny_bert")};
    const std::string data = parity("train.tsv"), json = (scratch / "out.json").string();
    const std::string line = "precision: " + chosen() + ", since ";
    const auto output = [&](int ranks, const std::vector<std::string>& command, const std::vector<std::string>& flags) {
        const JobResult job = run_strata(ranks, with(with(command, model), flags));
        EXPECT_EQ(job.exit_code, 0) << job.output;
        return job.output;
    };
    EXPECT_THAT(output(0, {"plan"}, {"--json", json}), HasSubstr(line));
    EXPECT_EQ(read_json(json)["compute_type"], chosen());
    EXPECT_THAT(output(2, {"bench", "step"}, {"--steps", "2", "--json", json}), HasSubstr(line));
    EXPECT_EQ(read_json(json)["precision"], chosen());
    EXPECT_THAT(output(2, {"lr-find"}, {"--train_file", data, "--num_it", "10"}), HasSubstr(line));
    EXPECT_THAT(output(0, {"plan"}, {"--bf16", "false"}), Not(HasSubstr("precision: ")));
    EXPECT_THAT(output(0, {"plan"}, {"--device", "cuda", "--json", json}), HasSubstr("precision: bf16, "));
    EXPECT_EQ(read_json(json)["compute_type"], "bf16");
}

TEST(Precision, flags_that_contradict_are_refused) {
    const ScratchFolder scratch;
    const auto refused = [&](const std::vector<std::string>& flags) {
        const JobResult job = run_strata(0, with(parity_run(1, scratch / "run"), flags));
        EXPECT_EQ(job.exit_code, 2) << job.output;
        return job.output;
    };
    EXPECT_NE(refused({"--bf16", "true", "--fp16"}).find("bf16 and fp16 are both true"), std::string::npos);
    EXPECT_NE(refused({"--tf32"}).find("tf32 is for NVIDIA GPUs"), std::string::npos);
    EXPECT_NE(refused({"--stochastic_rounding", "--bf16", "false"}).find("but bf16 is false: say --bf16 true"),
              std::string::npos);
    EXPECT_NE(refused({"--bf16", "maybe"}).find("--bf16: 'maybe' is not known"), std::string::npos);
}

}  // namespace
}  // namespace strata::testing_support
