// A training on GPUs whose passes are captured, against the same made directly. Skips by name where there are no GPUs.
#include <gtest/gtest.h>

#include "apps/strata/device.h"
#include "apps/strata/train_step.h"
#include "dist/mpi_communicator.h"
#include "optim/device.h"

namespace strata::app {
namespace {

class CapturedTraining : public testing::Test {
  protected:
    void SetUp() override {
        if (!optim::cuda_built()) GTEST_SKIP() << "built without nvcc";
        if (optim::device_count() < communicator_.local_size()) GTEST_SKIP() << "not so many GPUs here";
    }

    CapturedTraining() {
        config_.model_name_or_path = STRATA_FIXTURES "/parity/tiny_bert";
        config_.train_file = STRATA_FIXTURES "/parity/train.tsv";
        config_.max_seq_length = 48;
        config_.device = "cuda";
        config_.bf16 = "true";
        config_.attention_probs_dropout_prob = 0.0;
        config_.gradient_accumulation_steps = 2;
        config_.per_device_train_batch_size = 12 / communicator_.size();
        config_.learning_rate = 1e-3;
        config_.max_steps = 40;
    }

    struct Run {
        std::vector<double> losses;
        optim::ReplayCounts passes;
    };
    Run run(bool captured) {
        Config config = config_;
        config.cuda_graph = captured ? "true" : "false";
        const torch::Device device = choose_device(config, communicator_);
        const Experiment experiment = load_for_training(config);
        const RunLength length = run_length(config, experiment.train->size(), communicator_.size());
        const optim::Plan plan = make_train_plan(config, experiment.manifest(), length, communicator_.size());
        move_model(experiment.model(), device);
        const auto gpus = gpu_communicator(config, device, communicator_);
        TrainStep step(config, experiment, plan, length, communicator_, gpus.get());
        Run run;
        for (std::int64_t i = 0; i < length.total_steps; ++i) {
            MadeStep made = step.make(i, i % 10 == 9, false);
            step.optimizer().settle(made.report);
            run.losses.push_back(made.report.loss);
        }
        run.passes = step.optimizer().pass_replays();
        return run;
    }

    /// Up to the order of sums, which padding changes: bf16 has eight bits.
    void expect_like_direct() {
        const Run direct = run(false), captured = run(true);
        EXPECT_EQ(direct.passes, optim::ReplayCounts());
        EXPECT_GT(captured.passes.replayed, 10);
        for (std::size_t i = 0; i < direct.losses.size(); ++i)
            EXPECT_NEAR(captured.losses[i], direct.losses[i], 0.02 * (1 + direct.losses[i])) << "update " << i;
    }

    dist::MpiCommunicator communicator_;
    Config config_;
};

TEST_F(CapturedTraining, LearnsWhatADirectOneLearns) {
    expect_like_direct();
}

TEST_F(CapturedTraining, ComputesInFp32) {
    config_.bf16 = "false";
    expect_like_direct();
}

TEST_F(CapturedTraining, ScalesTheLoss) {
    config_.bf16 = "false";
    config_.fp16 = true;
    expect_like_direct();
}

TEST_F(CapturedTraining, TakesGradientsOutOfTheModel) {
    config_.zero_stage = 2;
    expect_like_direct();
}

TEST_F(CapturedTraining, RecomputesLayers) {
    config_.gradient_checkpointing = true;
    expect_like_direct();
}

/// The backbone is frozen whole, and its outputs are kept.
TEST_F(CapturedTraining, GoesOnFromKeptOutputs) {
    StageTable head;
    head.freeze_to = -1;
    config_.stage_tables = {head};
    expect_like_direct();
}

/// The operator's masks change with padding: two captured runs draw the same ones, computing layers again or not.
TEST_F(CapturedTraining, RepeatsItsMasks) {
    config_.attention_probs_dropout_prob = 0.3;
    for (const char* bf16 : {"true", "false"}) {  // each has an operator of its own
        config_.bf16 = bf16;
        config_.gradient_checkpointing = false;
        const Run one = run(true);
        config_.gradient_checkpointing = true;
        const Run other = run(true);
        EXPECT_EQ(other.passes, one.passes);
        for (std::size_t i = 0; i < one.losses.size(); ++i)
            EXPECT_NEAR(other.losses[i], one.losses[i], 0.02 * (1 + one.losses[i])) << "update " << i;
    }
}

}  // namespace
}  // namespace strata::app
