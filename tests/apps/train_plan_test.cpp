#include "apps/strata/train_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace strata::app {
namespace {

TEST(RunLength, counts_a_short_last_batch) {
    Config config;
    config.per_device_train_batch_size = 4;
    config.gradient_accumulation_steps = 2;
    config.num_train_epochs = 3;
    const RunLength length = run_length(config, 33, 2);
    EXPECT_EQ(length.global_batch_size, 16);
    EXPECT_EQ(length.steps_per_epoch, 3);
    EXPECT_EQ(length.total_steps, 9);
}

TEST(RunLength, max_steps_wins_and_parts_of_an_epoch_count) {
    Config config;
    config.num_train_epochs = 0.5;
    EXPECT_EQ(run_length(config, 80, 1).total_steps, 5);
    config.max_steps = 7;
    EXPECT_EQ(run_length(config, 80, 1).total_steps, 7);
    EXPECT_EQ(run_length(config, std::nullopt, 1).total_steps, 7);
}

TEST(RunLength, refuses_more_ranks_than_samples) {
    EXPECT_THAT([] { run_length(Config{}, 3, 4); },
                testing::ThrowsMessage<UserError>(testing::HasSubstr("3 training samples for 4 ranks")));
}

Config in_fp32() {
    Config config;
    config.bf16 = "false";
    return config;
}

TEST(TrainPlan, warm_up_is_counted_as_hugging_face_counts_it) {
    Config config = in_fp32();
    config.max_steps = 101;
    const auto warmup = [&] {
        const optim::Plan plan = make_train_plan(config, {{"w", {4}}}, run_length(config, std::nullopt, 1), 1);
        return plan.stages[0].schedule.warmup_steps;
    };
    EXPECT_EQ(warmup(), 0);
    config.warmup_ratio = 0.06;
    EXPECT_EQ(warmup(), 7);
    config.warmup_ratio = 0;
    config.warmup_steps = 12;
    EXPECT_EQ(warmup(), 12);
    config.warmup_steps = 0.1;
    EXPECT_EQ(warmup(), 11);
}

TEST(TrainPlan, layer_decay_is_short_for_policy_and_decay) {
    const optim::Manifest manifest = {{"bert.embeddings.word_embeddings.weight", {10, 4}},
                                      {"bert.encoder.layer.0.output.dense.weight", {4, 4}},
                                      {"classifier.bias", {2}}};
    Config config = in_fp32();
    config.max_steps = 10;
    config.layer_decay = 0.5;
    config.learning_rate = 1.0;
    config.lr_scheduler_type = "constant";
    const optim::Plan plan = make_train_plan(config, manifest, run_length(config, std::nullopt, 1), 1);
    ASSERT_EQ(plan.groups.size(), 3u);
    EXPECT_DOUBLE_EQ(plan.learning_rate(0, 0), 0.25);
    EXPECT_DOUBLE_EQ(plan.learning_rate(1, 0), 0.5);
    EXPECT_DOUBLE_EQ(plan.learning_rate(2, 0), 1.0);
}

TEST(TrainPlan, stochastic_rounding_draws_from_the_runs_seed) {
    Config config;
    config.bf16 = "true";
    config.max_steps = 10;
    config.seed = 7;
    const auto seed = [&] {
        return make_train_plan(config, {{"w", {4}}}, run_length(config, std::nullopt, 1), 1).rounding_seed;
    };
    EXPECT_FALSE(seed());
    config.stochastic_rounding = true;
    EXPECT_EQ(seed(), 7U);
}

TEST(TrainPlan, warm_up_longer_than_the_run_is_refused) {
    const optim::Manifest manifest = {{"w", {4}}};
    Config config = in_fp32();
    config.max_steps = 10;
    config.warmup_steps = 11;
    EXPECT_THROW(make_train_plan(config, manifest, run_length(config, std::nullopt, 1), 1), UserError);
}

}  // namespace
}  // namespace strata::app
