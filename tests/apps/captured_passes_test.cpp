// Training in the few shapes that are captured on a GPU, against training on the batches as they are: here directly, on
// the CPU. Run on 1, 2 and 4 ranks.
#include "apps/strata/captured_passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/strata/device.h"
#include "apps/strata/train_step.h"
#include "dist/mpi_communicator.h"
#include "models/bert.h"
#include "tests/models/fused_attention_stand_in.h"

namespace strata::app {
namespace {

using ::testing::HasSubstr;

class PaddedTraining : public testing::Test {
  protected:
    PaddedTraining() {
        config_.model_name_or_path = STRATA_FIXTURES "/parity/tiny_bert";
        config_.train_file = STRATA_FIXTURES "/parity/train.tsv";
        config_.max_seq_length = 48;
        config_.bf16 = "false";
        config_.gradient_accumulation_steps = 2;
        config_.per_device_train_batch_size = 20 / communicator_.size();
        config_.learning_rate = 1e-3;
        config_.layer_decay = 0.8;
        config_.max_steps = 9;  // 96 sentences in updates of 40: each third has 16, which are not all ranks' work
    }

    struct Run {
        std::vector<double> losses, norms;
        std::vector<std::int64_t> samples;
        models::NamedTensors parameters;
    };
    Run run(bool padded) {
        const Experiment experiment = load_for_training(config_);
        const RunLength length = run_length(config_, experiment.train->size(), communicator_.size());
        const optim::Plan plan = make_train_plan(config_, experiment.manifest(), length, communicator_.size());
        TrainStep step(config_, experiment, plan, length, communicator_);
        if (padded) step.fix_shapes();
        Run run;
        for (std::int64_t i = 0; i < length.total_steps; ++i) {
            const MadeStep made = step.make(i, false, i % 2 == 0);
            run.samples.push_back(made.work.own_samples);
            run.losses.push_back(made.report.loss);
            run.norms.push_back(made.report.grad_norm);
        }
        step.optimizer().await_parameters();
        for (const auto& [name, tensor] : experiment.model().named_parameter_list())
            run.parameters.emplace_back(name, tensor.detach().clone());
        return run;
    }
    /// `rounding`: of the type that is computed in, beside fp32's.
    void expect_equal_runs(double rounding = 1.0) {
        const Run plain = run(false), padded = run(true);
        EXPECT_EQ(padded.samples, plain.samples);
        for (std::size_t i = 0; i < plain.losses.size(); ++i) {
            EXPECT_NEAR(padded.losses[i], plain.losses[i], 1e-5 * rounding * plain.losses[i]) << "update " << i;
            EXPECT_NEAR(padded.norms[i], plain.norms[i], 1e-4 * rounding * plain.norms[i]) << "update " << i;
        }
        for (std::size_t i = 0; i < plain.parameters.size(); ++i) {
            // Where a gradient is all rounding (a key's bias), Adam makes whole steps of it.
            const auto& [name, expected] = plain.parameters[i];
            if (name.find("key.bias") != std::string::npos) continue;
            const double distance = (padded.parameters[i].second - expected).norm().item<double>();
            EXPECT_LT(distance, 1e-3 * rounding * expected.norm().item<double>()) << name;
        }
    }

    dist::MpiCommunicator communicator_;
    Config config_;
};

TEST_F(PaddedTraining, IsThatOfThePackedBatches) {
    expect_equal_runs();
}

TEST_F(PaddedTraining, ReducesBehindThePassesToo) {
    config_.overlap_comm = false;
    expect_equal_runs();
}

/// Gradients leave after each micro-batch.
TEST_F(PaddedTraining, TakesGradientsOutOfTheModel) {
    config_.zero_stage = 2;
    expect_equal_runs();
}

TEST_F(PaddedTraining, ScalesTheLoss) {
    config_.fp16 = true;
    expect_equal_runs(30.0);
}

TEST_F(PaddedTraining, RecomputesLayers) {
    config_.gradient_checkpointing = true;
    expect_equal_runs();
}

/// With masks from a generator, as on a GPU: seed once.
TEST_F(PaddedTraining, RecomputesLayersAroundFusedAttention) {
    config_.max_steps = 3;  // the stand-ins are slow
    config_.attention_probs_dropout_prob = 0.3;
    for (const char* bf16 : {"false", "true"}) {  // each has an operator of its own
        config_.bf16 = bf16;
        const auto once = [&](bool recomputes) {
            const models::testing::FusedAttentionOnTheCpu fused;
            torch::manual_seed(5);
            config_.gradient_checkpointing = recomputes;
            return std::pair{run(true), fused.forward_calls()};
        };
        const auto [kept, kept_calls] = once(false);
        const auto [again, calls] = once(true);
        EXPECT_EQ(calls, kept_calls);
        EXPECT_EQ(again.losses, kept.losses);
        EXPECT_EQ(again.norms, kept.norms);
        for (std::size_t i = 0; i < kept.parameters.size(); ++i)
            EXPECT_TRUE(torch::equal(again.parameters[i].second, kept.parameters[i].second))
                << kept.parameters[i].first;
    }
}

/// While the backbone is frozen whole its outputs are kept, and the head's passes are made of those.
TEST_F(PaddedTraining, FollowsTheStages) {
    StageTable head, top;
    head.length = "3u";
    head.freeze_to = -1;
    top.length = "3u";
    top.freeze_to = -2;
    config_.stage_tables = {head, top, StageTable{}};
    expect_equal_runs();
}

TEST_F(PaddedTraining, CallsNoFusedAttentionIfDeterministic) {
    const models::testing::FusedAttentionOnTheCpu fused;
    config_.deterministic = true;
    run(false);
    EXPECT_EQ(fused.forward_calls(), 0);
    config_.deterministic = false;
    run(false);
    EXPECT_GT(fused.forward_calls(), 0);
}

class DirectPasses : public testing::Test {
  protected:
    std::string why() { return why_passes_are_direct(*model_); }

    models::BertConfig bert_ = models::read_bert_config(STRATA_FIXTURES "/parity/tiny_bert");
    std::unique_ptr<models::Model> model_ =
        std::make_unique<models::BertForSequenceClassification>(bert_, torch::kMeta);
};

TEST_F(DirectPasses, AreNoneWhereAllIsCaptured) {
    if (!has_pass_recordings()) GTEST_SKIP() << "built without LibTorch's CUDA half";
    EXPECT_EQ(why(), "") << "whatever the type: all of them have fused attention";
    model_->set_recomputes(true);
    EXPECT_EQ(why(), "");
}

TEST_F(DirectPasses, SayWhatStandsInTheWay) {
    bert_.num_attention_heads = 8;  // of 4
    model_ = std::make_unique<models::BertForSequenceClassification>(bert_, torch::kMeta);
    EXPECT_THAT(why(), HasSubstr("fused attention"));
}

}  // namespace
}  // namespace strata::app
