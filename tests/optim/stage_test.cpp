#include "optim/stage.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "model_manifests.h"
#include "optim/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace strata::optim {
namespace {

using testing::bert_manifest;
using ::testing::ElementsAre;
using testing::gru_manifest;
using ::testing::HasSubstr;
using testing::message_of;
using testing::resnet18_manifest;

/// embedding, gru, fc under prefix-decay 0.5; 100 updates of 20 an epoch.
PlanConfig gru_config() {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::prefix_decay, .decay = 0.5};
    config.schedule.options.kind = ScheduleKind::constant;
    config.learning_rate = 1e-2;
    config.total_steps = 100;
    config.steps_per_epoch = 20;
    return config;
}

std::vector<std::int64_t> ends(const Plan& plan) {
    std::vector<std::int64_t> out;
    for (const Stage& stage : plan.stages) out.push_back(stage.end_step);
    return out;
}

StageConfig lasting(std::string_view length) {
    StageConfig stage;
    if (!length.empty()) stage.length = parse_length(length);
    return stage;
}

std::vector<std::int64_t> ends_of(const std::vector<std::string_view>& lengths, std::int64_t total = 100,
                                  std::int64_t steps_per_epoch = 20) {
    PlanConfig config = gru_config();
    config.total_steps = total;
    config.steps_per_epoch = steps_per_epoch;
    for (const std::string_view length : lengths) config.stages.push_back(lasting(length));
    return ends(make_plan(gru_manifest(), config));
}

TEST(Length, ReadsItsUnits) {
    EXPECT_EQ(length_text(parse_length("1e")), "1e");
    EXPECT_EQ(length_text(parse_length("0.5e")), "0.5e");
    EXPECT_EQ(length_text(parse_length("500u")), "500u");
    EXPECT_EQ(length_text(parse_length("12.5%")), "12.5%");
    EXPECT_EQ(parse_length("1e").unit, Length::Unit::epochs);
    EXPECT_EQ(parse_length("1u").unit, Length::Unit::updates);
    EXPECT_EQ(parse_length("1%").unit, Length::Unit::percent);
}

TEST(Length, RefusesOtherText) {
    for (const char* text : {"", "5", "e", "-1e", "0u", "1.5u", "101%", "nane", "infe", "1 e", "1ee", "0x5u", "1,5e"}) {
        EXPECT_THAT(message_of<UserError>([&] { parse_length(text); }), HasSubstr("is not a length")) << text;
    }
}

TEST(Stages, NoneIsOneThatTrainsEverything) {
    const Plan plan = make_plan(gru_manifest(), gru_config());
    ASSERT_EQ(plan.stages.size(), 1U);
    EXPECT_EQ(plan.stages[0].name, "train");
    EXPECT_THAT(plan.stages[0].multipliers, ElementsAre(0.25, 0.5, 1.0));
    EXPECT_THAT(plan.stages[0].trainable, ElementsAre(true, true, true));
}

TEST(Stages, LengthsAddUpWithoutGaps) {
    EXPECT_THAT(ends_of({"1e", "2e", ""}), ElementsAre(20, 60, 100));
    EXPECT_THAT(ends_of({"30u", "10%", ""}), ElementsAre(30, 40, 100));
    EXPECT_THAT(ends_of({"50%", "50%"}), ElementsAre(50, 100));
    EXPECT_THAT(ends_of({"5e"}), ElementsAre(100));
    // Half epochs of 7 updates end within a step, which goes to the stage that began it; nothing drifts.
    EXPECT_THAT(ends_of({"0.5e", "0.5e", "0.5e", "0.5e"}, 14, 7), ElementsAre(4, 7, 11, 14));
    // 1.1 times 10 is a little more than 11 in doubles, which is no step more.
    EXPECT_THAT(ends_of({"1.1e", ""}, 100, 10), ElementsAre(11, 100));
}

TEST(Stages, TheirTotalCanBeTheRuns) {
    EXPECT_EQ(steps_of_stages({lasting("1e"), lasting("30u")}, 20), 50);
    EXPECT_EQ(steps_of_stages({lasting("0.5e")}, 7), 4);
    EXPECT_EQ(steps_of_stages({lasting("1e"), lasting("")}, 20), std::nullopt);
    EXPECT_EQ(steps_of_stages({lasting("10%")}, 20), std::nullopt);
    EXPECT_EQ(steps_of_stages({}, 20), std::nullopt);
}

std::vector<bool> trainable_with_freeze_to(int freeze_to) {
    PlanConfig config = gru_config();
    config.stages = {lasting("")};
    config.stages[0].freeze_to = freeze_to;
    return make_plan(gru_manifest(), config).stages[0].trainable;
}

TEST(Stages, FreezeToCountsAsFastai) {
    EXPECT_THAT(trainable_with_freeze_to(0), ElementsAre(true, true, true));
    EXPECT_THAT(trainable_with_freeze_to(1), ElementsAre(false, true, true));
    EXPECT_THAT(trainable_with_freeze_to(2), ElementsAre(false, false, true));
    EXPECT_THAT(trainable_with_freeze_to(-1), ElementsAre(false, false, true));
    EXPECT_THAT(trainable_with_freeze_to(-2), ElementsAre(false, true, true));
    EXPECT_THAT(trainable_with_freeze_to(-3), ElementsAre(true, true, true));
}

TEST(Stages, GroupsByNameOrPattern) {
    PlanConfig config = gru_config();
    config.policy = {.kind = PolicyKind::prefix_decay};
    config.stages = {lasting("")};
    config.stages[0].groups = {"layer*", "fc"};
    EXPECT_THAT(make_plan(resnet18_manifest(), config).stages[0].trainable,
                ElementsAre(false, false, true, true, true, true, true));
}

TEST(Stages, MultiplierZeroStaysFrozenInEveryStage) {
    PlanConfig config = gru_config();
    config.policy = {.kind = PolicyKind::rules};
    config.policy.rules = {{"embedding", {}, 0.0}, {"gru"}, {"fc"}};
    config.stages = {lasting("1e"), lasting("")};
    config.stages[0].freeze_to = 0;
    config.stages[1].slice = RateSlice{1e-4, 1e-2};
    const Plan plan = make_plan(gru_manifest(), config);
    for (const std::int64_t step : {0, 50}) {
        EXPECT_FALSE(plan.trainable(0, step));
        EXPECT_EQ(plan.learning_rate(0, step), 0.0);
        EXPECT_FALSE(plan.holds_state(0, step));
    }
    // It counts in the slice all the same.
    EXPECT_NEAR(plan.learning_rate(1, 50), 1e-3, 1e-15);
}

TEST(Stages, RatesAreStageTimesMultiplierTimesFactor) {
    PlanConfig config = gru_config();
    config.schedule.options = {ScheduleKind::linear, 0, 0};
    config.schedule.warmup_ratio = 0.1;
    config.stages = {lasting("1e"), lasting("2e"), lasting("")};
    config.stages[0].freeze_to = -1;
    config.stages[0].learning_rate = 2e-2;
    config.stages[1].slice = RateSlice{1e-5, 1e-3};
    config.stages[1].schedule = ScheduleConfig{{ScheduleKind::constant, 5, 0}, 0.0};
    config.stages[2].slice = RateSlice{std::nullopt, 1e-3};
    const Plan plan = make_plan(gru_manifest(), config);
    EXPECT_EQ(plan.stages[0].name, "stage_1");
    const auto expect_rate = [&](std::size_t group, std::int64_t step, double rate) {
        EXPECT_NEAR(plan.learning_rate(group, step), rate, 1e-9 * rate) << "group " << group << " step " << step;
    };
    // 20 updates, 2 of warm-up, then down over 18.
    EXPECT_EQ(plan.learning_rate(0, 5), 0.0);
    expect_rate(2, 1, 2e-2 * 0.5);
    expect_rate(2, 2, 2e-2);
    expect_rate(2, 11, 2e-2 * 0.5);
    // Its own schedule: 5 of warm-up, then level.
    expect_rate(0, 21, 1e-5 / 5);
    for (const std::int64_t step : {25, 40, 59}) {
        expect_rate(0, step, 1e-5);
        expect_rate(1, step, 1e-4);
        expect_rate(2, step, 1e-3);
    }
    // 40 updates, 4 of warm-up.
    expect_rate(0, 64, 1e-4);
    expect_rate(1, 64, 1e-4);
    expect_rate(2, 64, 1e-3);
    expect_rate(2, 82, 1e-3 * 0.5);
}

TEST(Stages, FastaisTextSequence) {
    // fit_one_cycle(1, 2e-2); freeze_to(-2), slice(1e-2/(2.6**4), 1e-2); freeze_to(-3), slice(5e-3/...); unfreeze.
    PlanConfig config = gru_config();
    config.policy.kind = PolicyKind::slice;
    config.policy.split = PolicyKind::rules;
    config.policy.slice = {std::nullopt, 1e-2};
    for (const char* name : {"encoder", "rnn_0", "rnn_1", "rnn_2", "head"}) config.policy.rules.push_back({name});
    const double spread = std::pow(2.6, 4);
    const auto fit = [&](std::string_view length, int freeze_to, std::optional<double> low, double high) {
        StageConfig stage = lasting(length);
        stage.freeze_to = freeze_to;
        stage.slice = RateSlice{low, high};
        config.stages.push_back(stage);
    };
    fit("1e", -1, std::nullopt, 2e-2);
    fit("1e", -2, 1e-2 / spread, 1e-2);
    fit("1e", -3, 5e-3 / spread, 5e-3);
    fit("2e", 0, 1e-3 / spread, 1e-3);
    const Plan plan = make_plan(testing::vectors({"encoder.w", "rnn_0.w", "rnn_1.w", "rnn_2.w", "head.w"}), config);
    EXPECT_THAT(ends(plan), ElementsAre(20, 40, 60, 100));
    const auto live = [&](std::int64_t step) {
        int count = 0;
        for (std::size_t g = 0; g < 5; ++g) count += plan.trainable(g, step) ? 1 : 0;
        return count;
    };
    EXPECT_EQ(live(0), 1);
    EXPECT_EQ(live(20), 2);
    EXPECT_EQ(live(40), 3);
    EXPECT_EQ(live(60), 5);
    EXPECT_NEAR(plan.learning_rate(4, 0), 2e-2, 1e-17);
    EXPECT_NEAR(plan.learning_rate(3, 20), 1e-2 / 2.6, 1e-14);
    EXPECT_NEAR(plan.learning_rate(2, 40), 5e-3 / 2.6 / 2.6, 1e-15);
    EXPECT_NEAR(plan.learning_rate(0, 60), 1e-3 / spread, 1e-15);
}

TEST(Gradual, ThawsOneMoreGroupAStageFromTheHead) {
    PlanConfig config = gru_config();
    config.policy = {.kind = PolicyKind::layer_decay, .decay = 1 / 2.6};
    config.total_steps = 20 * 16;
    config.gradual = GradualConfig{};
    const Plan plan = make_plan(bert_manifest({}), config);
    ASSERT_EQ(plan.stages.size(), 14U);
    for (std::size_t s = 0; s < 14; ++s) {
        EXPECT_EQ(plan.stages[s].first_step, static_cast<std::int64_t>(s) * 20);
        for (std::size_t g = 0; g < 14; ++g) EXPECT_EQ(plan.stages[s].trainable[g], g + s >= 13);
    }
    EXPECT_EQ(plan.stages.back().end_step, 320);
    EXPECT_THAT(message_of<UserError>([&] {
                    config.total_steps = 20 * 13;
                    make_plan(bert_manifest({}), config);
                }),
                HasSubstr("Stage 'gradual_14' has no update"));
}

TEST(FineTune, IsFastaisTwoPhases) {
    PlanConfig config = gru_config();
    config.learning_rate = 2e-3;
    config.fine_tune = FineTuneConfig{};
    const Plan plan = make_plan(gru_manifest(), config);
    ASSERT_EQ(plan.stages.size(), 2U);
    EXPECT_THAT(ends(plan), ElementsAre(20, 100));
    EXPECT_THAT(plan.stages[0].trainable, ElementsAre(false, false, true));
    EXPECT_THAT(plan.stages[1].trainable, ElementsAre(true, true, true));
    EXPECT_EQ(plan.stages[0].learning_rate, 2e-3);
    EXPECT_EQ(plan.stages[0].multipliers[2], 1.0);
    // fit_one_cycle(freeze_epochs, slice(lr), pct_start=.99), then fit_one_cycle(epochs, slice(...), pct_start=.3,
    // div=5).
    for (const Stage& stage : plan.stages) EXPECT_EQ(stage.schedule.kind, ScheduleKind::one_cycle);
    EXPECT_NEAR(plan.learning_rate(2, 0), 2e-3 / 25, 1e-18);
    EXPECT_EQ(option_value(plan.stages[0].schedule, &Schedule::pct_start), 0.99);
    EXPECT_NEAR(plan.learning_rate(2, 20), 1e-3 / 5, 1e-17);
    EXPECT_DOUBLE_EQ(plan.learning_rate(2, 20 + 24), 1e-3);  // 30 % of 80 updates
    const auto peak = [&](std::size_t g) { return plan.stages[1].learning_rate * plan.stages[1].multipliers[g]; };
    EXPECT_NEAR(peak(0), 1e-5, 1e-17);
    EXPECT_NEAR(peak(1), 1e-4, 1e-16);
    EXPECT_NEAR(peak(2), 1e-3, 1e-15);
}

}  // namespace
}  // namespace strata::optim
