// With --deterministic true a run's bits depend neither on its number of ranks nor on where it was cut.
#include <gtest/gtest.h>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;

/// Twelve samples an update in six micro-batches; dropout and shuffling on. The last update of an epoch is smaller than
/// the others only where --max_train_samples says so.
std::vector<std::string> deterministic_run(const fs::path& output_dir) {
    return with(parity_run(1, output_dir),
                {"--deterministic", "true", "--micro_batches", "6", "--per_device_train_batch_size", "2",
                 "--gradient_accumulation_steps", "1", "--hidden_dropout_prob", "0.1", "--attention_probs_dropout_prob",
                 "0.1", "--shuffle", "true", "--save_steps", "7"});
}

struct Case {
    std::string name;
    std::vector<std::string> flags;
};

class Deterministic : public testing::TestWithParam<Case> {
  protected:
    std::vector<std::string> run(const char* name) const {
        return with(deterministic_run(scratch_ / name), GetParam().flags);
    }
    std::string model(const char* name) const { return bytes_of(scratch_ / name / "model.safetensors"); }

    /// Losses and norms as they were printed.
    std::vector<std::string> course(const char* name) const {
        std::vector<std::string> lines;
        for (const auto& line : read_lines(scratch_ / name / "metrics.jsonl")) {
            if (line.contains("grad_norm")) lines.push_back(line["loss"].dump() + " " + line["grad_norm"].dump());
        }
        return lines;
    }

    ScratchFolder scratch_;
};

TEST_P(Deterministic, AnyNumberOfRanksHasTheBitsOfOne) {
    expect_success(run_strata(1, run("1")));
    ASSERT_FALSE(course("1").empty());
    for (const int ranks : {2, 3, 4}) {
        const std::string name = std::to_string(ranks);
        expect_success(run_strata(ranks, run(name.c_str())));
        EXPECT_TRUE(model(name.c_str()) == model("1")) << ranks << " ranks";
        EXPECT_EQ(course(name.c_str()), course("1")) << ranks << " ranks";
    }
}

TEST_P(Deterministic, ARunCutOnFourRanksGoesOnOnTwoWithItsBits) {
    expect_success(run_strata(4, run("whole")));
    expect_success(run_strata(4, run("cut")));
    fs::remove_all(scratch_ / "cut/checkpoint-20");
    fs::remove_all(scratch_ / "cut/checkpoint-14");
    fs::remove(scratch_ / "cut/model.safetensors");
    expect_success(run_strata(2, with(run("cut"), {"--resume_from_checkpoint", "auto"})));
    EXPECT_TRUE(model("cut") == model("whole"));
    EXPECT_EQ(course("cut"), course("whole"));
}

INSTANTIATE_TEST_SUITE_P(Runs, Deterministic,
                         testing::Values(Case{"layer_decay", {}}, Case{"lamb", {"--optim", "lamb"}},
                                         Case{"smaller_last_batch", {"--max_train_samples", "41"}}),
                         [](const auto& test) { return test.param.name; });

class DeterministicStages : public testing::Test {
  protected:
    ScratchFolder scratch_;
};

TEST_F(DeterministicStages, GroupsThatThawHaveTheBitsOfOneRank) {
    const std::string stages = scratch_.write("stages.toml", three_stages);
    for (const int ranks : {1, 3}) {
        const std::string name = std::to_string(ranks);
        expect_success(run_strata(ranks, with(deterministic_run(scratch_ / name), {"--config", stages})));
    }
    EXPECT_TRUE(bytes_of(scratch_ / "3/model.safetensors") == bytes_of(scratch_ / "1/model.safetensors"));
}

TEST_F(DeterministicStages, KeptOutputsOfAFrozenBackboneHaveTheBitsOfOneRankWithoutThem) {
    const std::string stages =
        scratch_.write("stages.toml", "[[stage]]\nlength = \"15u\"\nfreeze_to = -1\n[[stage]]\n");
    const auto run = [&](const char* name, const char* cache) {
        return with(deterministic_run(scratch_ / name), {"--config", stages, "--cache_frozen", cache});
    };
    expect_success(run_strata(1, run("plain", "false")));
    expect_success(run_strata(3, run("kept", "true")));
    EXPECT_TRUE(bytes_of(scratch_ / "kept/model.safetensors") == bytes_of(scratch_ / "plain/model.safetensors"));
}

TEST_F(DeterministicStages, OtherMicroBatchesOrThreadsAreRefusedOnResume) {
    expect_success(run_strata(1, deterministic_run(scratch_ / "run")));
    fs::remove_all(scratch_ / "run/checkpoint-20");
    const auto again = with(deterministic_run(scratch_ / "run"), {"--resume_from_checkpoint", "auto"});
    const JobResult cut = run_strata(1, with(again, {"--micro_batches", "3", "--per_device_train_batch_size", "4"}));
    EXPECT_EQ(cut.exit_code, 2);
    EXPECT_NE(cut.output.find("say micro_batches = 6"), std::string::npos) << cut.output;
    const JobResult many = run_strata(1, with(again, {"--micro_batches", "4"}));
    EXPECT_EQ(many.exit_code, 2);
    EXPECT_NE(many.output.find("stays 12"), std::string::npos) << many.output;
}

TEST_F(DeterministicStages, FewerMicroBatchesThanRanksAreRefused) {
    const JobResult job = run_strata(3, with(deterministic_run(scratch_ / "run"), {"--micro_batches", "2"}));
    EXPECT_EQ(job.exit_code, 2);
    EXPECT_NE(job.output.find("micro_batches is 2, but there are 3 ranks"), std::string::npos) << job.output;
}

}  // namespace
}  // namespace strata::testing_support
