// A stage whose backbone is frozen sends each sample through it once. Run on 1, 2 and 4 ranks.
#include "apps/strata/frozen_outputs.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "apps/strata/train_step.h"
#include "dist/mpi_communicator.h"

namespace strata::app {
namespace {

constexpr std::int64_t steps_per_epoch = 8;  // 96 sentences in updates of 12

class FrozenBackbone : public testing::Test {
  protected:
    FrozenBackbone() {
        config_.model_name_or_path = STRATA_FIXTURES "/parity/tiny_bert";
        config_.train_file = STRATA_FIXTURES "/parity/train.tsv";
        config_.max_seq_length = 48;
        config_.bf16 = "false";
        config_.per_device_train_batch_size = 12 / communicator_.size();
        config_.learning_rate = 1e-3;
        config_.layer_decay = 0.8;
        config_.max_steps = 26;
        config_.hidden_dropout_prob = 0.1;
        StageTable head;
        head.length = "20u";
        head.freeze_to = -1;
        config_.stage_tables = {head, StageTable{}};
    }

    /// What the run did in each update, and the parameters' bytes at its end.
    struct Run {
        std::vector<std::int64_t> backbone_samples;
        std::vector<double> losses;
        std::string parameters;
        std::int64_t kept_bytes = 0;
    };
    Run run() {
        const Experiment experiment = load_for_training(config_);
        const RunLength length = run_length(config_, experiment.train->size(), communicator_.size());
        const optim::Plan plan = make_train_plan(config_, experiment.manifest(), length, communicator_.size());
        TrainStep step(config_, experiment, plan, length, communicator_);
        Run run;
        for (std::int64_t i = 0; i < length.total_steps; ++i) {
            const MadeStep made = step.make(i);
            EXPECT_EQ(made.work.samples, 12);
            run.backbone_samples.push_back(made.work.backbone_samples);
            run.losses.push_back(made.report.loss);
            run.kept_bytes = std::max(run.kept_bytes, step.frozen_outputs().bytes());
        }
        for (const auto& [name, tensor] : experiment.model().named_parameter_list()) {
            run.parameters.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
        }
        return run;
    }

    dist::MpiCommunicator communicator_;
    Config config_;
};

TEST_F(FrozenBackbone, ComputesEachSampleOnce) {
    const Run kept = run();
    for (std::int64_t i = 0; i < 26; ++i) {
        const bool goes_through = i < steps_per_epoch || i >= 20;
        EXPECT_EQ(kept.backbone_samples[static_cast<std::size_t>(i)], goes_through ? 12 : 0) << "update " << i;
    }
    EXPECT_EQ(kept.kept_bytes, 96 * 32 * 4) << "96 rows of 32";
}

TEST_F(FrozenBackbone, ChangesNoBit) {
    const Run kept = run();
    config_.cache_frozen = "false";
    const Run plain = run();
    EXPECT_EQ(plain.backbone_samples[10], 12);
    EXPECT_EQ(plain.kept_bytes, 0);
    EXPECT_EQ(kept.losses, plain.losses);
    EXPECT_TRUE(kept.parameters == plain.parameters);
}

TEST_F(FrozenBackbone, NeedsAllOfItFrozen) {
    config_.stage_tables[0].freeze_to = -2;
    const Run run_of_two_groups = run();
    EXPECT_EQ(run_of_two_groups.backbone_samples[10], 12);
    EXPECT_EQ(run_of_two_groups.kept_bytes, 0);
}

}  // namespace
}  // namespace strata::app
