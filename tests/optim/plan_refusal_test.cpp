// Every plan that makes no sense is refused in one message that says what, where, and what to do: a case each.
#include "bert_manifest.h"
#include "core/error.h"
#include "model_manifests.h"
#include "optim/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace strata::optim {
namespace {

using testing::gru_manifest;
using ::testing::HasSubstr;
using testing::message_of;
using testing::resnet18_manifest;

struct Case {
    const char* name;
    std::function<void(PlanConfig&)> change;
    std::vector<const char*> says;
};

/// Over the ResNet's groups conv1, bn1, layer1 to layer4 and fc; 100 updates, 20 an epoch.
class Refusal : public ::testing::TestWithParam<Case> {};

StageConfig stage(std::string_view length = "") {
    StageConfig config;
    if (!length.empty()) config.length = parse_length(length);
    return config;
}

void rules(PlanConfig& config, std::vector<GroupRule> rules) {
    config.policy.kind = PolicyKind::rules;
    config.policy.rules = std::move(rules);
}

TEST_P(Refusal, SaysWhatWhereAndWhatToDo) {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::prefix_decay};
    config.total_steps = 100;
    config.steps_per_epoch = 20;
    ASSERT_EQ(message_of<std::exception>([&] { make_plan(resnet18_manifest(), config); }), "");
    GetParam().change(config);
    const std::string message = message_of<UserError>([&] { make_plan(resnet18_manifest(), config); });
    for (const char* text : GetParam().says) EXPECT_THAT(message, HasSubstr(text));
}

const std::vector<Case> policy_cases{
    {"decay_above_one", [](PlanConfig& c) { c.policy.decay = 1.01; }, {"Layer decay 1.01 is outside (0, 1]"}},
    {"decay_zero", [](PlanConfig& c) { c.policy.decay = 0; }, {"Layer decay 0 is outside (0, 1]"}},
    {"decay_not_a_number", [](PlanConfig& c) { c.policy.decay = std::nan(""); }, {"is outside (0, 1]"}},
    {"parameter_decay",
     [](PlanConfig& c) { c.policy = {.kind = PolicyKind::parameter_decay, .decay = -0.5}; },
     {"Layer decay -0.5 is outside (0, 1]"}},
    {"depth", [](PlanConfig& c) { c.policy.depth = 0; }, {"depth is 0; it must be 1 or more"}},
    {"three_parts",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::multipliers, .part_multipliers = {0.1, 1.0}};
     },
     {"2 multipliers", "base, extra and head"}},
    {"part_below_zero",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::multipliers, .part_multipliers = {0.1, -0.5, 1.0}};
     },
     {"the multiplier of 'extra' is -0.5"}},
    {"parts_of_no_transformer",
     [](PlanConfig& c) { c.policy = {.kind = PolicyKind::multipliers}; },
     {"Policy 'multipliers' finds no numbered layers", "conv1.weight", "'prefix-decay'"}},
    {"rules_beside_a_policy",
     [](PlanConfig& c) { c.policy.rules = {{"fc"}}; },
     {"explicit groups ('fc')", "policy 'prefix-decay' makes its own"}},
    {"slice_of_slice",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::slice, .slice = {1e-5, 1e-3}};
     },
     {"cannot be its own split"}},
    {"slice_upside_down",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::single, .slice = {1e-3, 1e-5}};
     },
     {"Policy 'slice': the slice runs from 0.001 down to 1e-05"}},
    {"slice_without_high",
     [](PlanConfig& c) { c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::single}; },
     {"Policy 'slice': the slice's high rate is 0; it must be above 0"}},
    {"slice_low_below_zero",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::single, .slice = {-1e-5, 1e-3}};
     },
     {"the slice's low rate is -1e-05"}},
    {"slice_of_nothing",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::single, .slice = {1e-5, 1e-3}};
         c.learning_rate = 0;
     },
     {"needs a learning_rate above 0"}},
};

const std::vector<Case> rule_cases{
    {"no_rules", [](PlanConfig& c) { rules(c, {}); }, {"Policy 'rules' has no groups"}},
    {"matches_nothing",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}}, {"top", {"layer5.**"}}});
     },
     {"Group 'top': the pattern 'layer5.**' matches no parameter. Nearest names: layer1, layer2, layer3, layer4, "}},
    {"meant_what_lies_under",
     [](PlanConfig& c) {
         rules(c, {{"top", {"layer4"}}});
     },
     {"'layer4' matches no parameter", "write 'layer4.**'"}},
    {"no_patterns_and_no_such_prefix",
     [](PlanConfig& c) { rules(c, {{"layer9"}}); },
     {"Group 'layer9': the pattern 'layer9.**' matches no parameter"}},
    {"two_claims",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}}, {"top", {"fc.*"}}});
     },
     {"Two groups claim 'fc.weight': 'all' by '**' and 'top' by 'fc.*'"}},
    {"nobody_claims",
     [](PlanConfig& c) {
         rules(c, {{"stem", {"conv1.**", "bn1.**"}}, {"layers", {"layer*.**"}}, {"top", {"fc.weight"}}});
     },
     {"No group claims 'fc.bias'", "bn1.bias (stem)", "fc.weight (top)", "multiplier 0"}},
    {"two_of_a_name",
     [](PlanConfig& c) {
         rules(c, {{"top", {"fc.*"}}, {"rest", {"layer*.**"}}, {"top", {"conv1.**"}}});
     },
     {"Two groups are named 'top' (numbers 1 and 3)"}},
    {"no_name",
     [](PlanConfig& c) {
         rules(c, {{"", {"**"}}});
     },
     {"Group without a name"}},
    {"bad_name",
     [](PlanConfig& c) {
         rules(c, {{"top/fc", {"**"}}});
     },
     {"Group 'top/fc': a name has letters"}},
    {"bad_regex",
     [](PlanConfig& c) {
         rules(c, {{"all", {"re:("}}});
     },
     {"Group 'all': The pattern 're:(' is not a regular expression"}},
    {"bad_glob",
     [](PlanConfig& c) {
         rules(c, {{"all", {"layer**"}}});
     },
     {"Group 'all': In the pattern 'layer**', '**' must stand alone"}},
    {"multiplier_below_zero",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, -1}});
     },
     {"Group 'all': multiplier -1 must be 0 or more"}},
    {"multiplier_infinite",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, std::numeric_limits<double>::infinity()}});
     },
     {"Group 'all': multiplier inf"}},
    {"everything_frozen",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, 0}});
     },
     {"Every group is frozen (multiplier 0)"}},
    {"betas_of_sgd",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, 1, {.beta1 = 0.8}}});
         c.optimizer.kind = OptimizerKind::sgd;
     },
     {"Group 'all' sets betas, which optimizer 'sgd' does not have"}},
    {"eps_of_sgd",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, 1, {.epsilon = 1e-6}}});
         c.optimizer.kind = OptimizerKind::sgd;
     },
     {"Group 'all' sets eps"}},
    {"bad_beta",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, 1, {.beta2 = 1.0}}});
     },
     {"Group 'all': adam_beta2 is 1"}},
    {"bad_decay",
     [](PlanConfig& c) {
         rules(c, {{"all", {"**"}, 1, {.weight_decay = -0.1}}});
     },
     {"Group 'all': weight_decay is -0.1"}},
};

const std::vector<Case> stage_cases{
    {"thaws_nothing",
     [](PlanConfig& c) { (c.stages = {stage()})[0].groups.emplace(); },
     {"Stage 'stage_1' trains nothing"}},
    {"thaws_what_is_frozen",
     [](PlanConfig& c) {
         rules(c, {{"rest", {"re:(?!fc).*"}, 0}, {"fc"}});
         (c.stages = {stage()})[0].groups = {"rest"};
     },
     {"Stage 'stage_1' trains 'rest', which multiplier 0 keeps frozen"}},
    {"head_is_frozen",
     [](PlanConfig& c) {
         rules(c, {{"rest", {"re:(?!fc).*"}}, {"fc", {}, 0}});
         (c.stages = {stage()})[0].freeze_to = -1;
     },
     {"Stage 'stage_1' trains nothing"}},
    {"longer_than_the_run",
     [](PlanConfig& c) {
         c.stages = {stage("4e"), stage("30u")};
     },
     {"Stage 'stage_2' ends at update 110, but the run has only 100", "num_train_epochs"}},
    {"absurdly_long", [](PlanConfig& c) { c.stages = {stage("1e300u")}; }, {"but the run has only 100"}},
    {"shorter_than_the_run",
     [](PlanConfig& c) {
         c.stages = {stage("1e"), stage("2e")};
     },
     {"The stages end at update 60, but the run has 100", "Leave out the last stage's length"}},
    {"no_step_left",
     [](PlanConfig& c) {
         c.stages = {stage("5e"), stage()};
     },
     {"Stage 'stage_2' has no update"}},
    {"shorter_than_a_step",
     [](PlanConfig& c) {
         c.stages = {stage("0.01%"), stage("0.01%"), stage()};
     },
     {"Stage 'stage_2' has no update"}},
    {"rest_before_the_last",
     [](PlanConfig& c) {
         c.stages = {stage(), stage("1e")};
     },
     {"Stage 'stage_1' has no length, and only the last stage may"}},
    {"epochs_of_unknown_length",
     [](PlanConfig& c) {
         c.stages = {stage("1e"), stage()};
         c.steps_per_epoch = 0;
     },
     {"Stage 'stage_1' lasts 1e, but without training data"}},
    {"freeze_to_too_high",
     [](PlanConfig& c) { (c.stages = {stage()})[0].freeze_to = 7; },
     {"freeze_to is 7, but there are 7 groups", "0 to 6", "-1 to -7"}},
    {"freeze_to_too_low",
     [](PlanConfig& c) { (c.stages = {stage()})[0].freeze_to = -8; },
     {"freeze_to is -8, but there are 7 groups"}},
    {"unknown_group",
     [](PlanConfig& c) { (c.stages = {stage()})[0].groups = {"layer5"}; },
     {"Stage 'stage_1': 'layer5' is no group of this plan. Nearest names: layer1, layer2, layer3, layer4, "}},
    {"bad_pattern",
     [](PlanConfig& c) { (c.stages = {stage()})[0].groups = {"re:["}; },
     {"Stage 'stage_1': The pattern 're:[' is not a regular expression"}},
    {"two_ways_to_freeze",
     [](PlanConfig& c) {
         (c.stages = {stage()})[0].groups = {"fc"};
         c.stages[0].freeze_to = -1;
     },
     {"says what trains in two ways, freeze_to and groups"}},
    {"two_ways_to_say_the_rate",
     [](PlanConfig& c) {
         (c.stages = {stage()})[0].slice = RateSlice{1e-5, 1e-3};
         c.stages[0].learning_rate = 1e-3;
     },
     {"says its rate in two ways, learning_rate and slice"}},
    {"rate_beside_the_policys_slice",
     [](PlanConfig& c) {
         c.policy = {.kind = PolicyKind::slice, .split = PolicyKind::prefix_decay, .slice = {1e-5, 1e-3}};
         (c.stages = {stage()})[0].learning_rate = 1e-3;
     },
     {"says its rate in two ways, learning_rate and the slice of the policy"}},
    {"slice_upside_down",
     [](PlanConfig& c) {
         (c.stages = {stage()})[0].slice = RateSlice{1e-3, 1e-5};
     },
     {"Stage 'stage_1': the slice runs from 0.001 down to 1e-05"}},
    {"slice_of_zero",
     [](PlanConfig& c) {
         (c.stages = {stage()})[0].slice = RateSlice{0.0, 1e-3};
     },
     {"Stage 'stage_1': the slice's low rate is 0"}},
    {"slice_to_zero",
     [](PlanConfig& c) {
         (c.stages = {stage()})[0].slice = RateSlice{std::nullopt, -1e-3};
     },
     {"the slice's high rate is -0.001"}},
    {"rate_below_zero",
     [](PlanConfig& c) { (c.stages = {stage()})[0].learning_rate = -1e-3; },
     {"Stage 'stage_1': learning_rate is -0.001"}},
    {"warm_up_too_long",
     [](PlanConfig& c) {
         c.stages = {stage("1e"), stage()};
         c.stages[0].schedule = ScheduleConfig{{ScheduleKind::linear, 21, 0}, 0.0};
     },
     {"Stage 'stage_1': the warm-up of 21 steps is longer than its 20"}},
    {"the_runs_warm_up_too_long",
     [](PlanConfig& c) {
         c.stages = {stage("1e"), stage()};
         c.schedule.options.warmup_steps = 50;
     },
     {"Stage 'stage_1': the warm-up of 50 steps is longer than its 20"}},
    {"two_ways_to_warm_up",
     [](PlanConfig& c) {
         c.schedule.options.warmup_steps = 5;
         c.schedule.warmup_ratio = 0.1;
     },
     {"The run says its warm-up in two ways"}},
    {"warm_up_of_more_than_all", [](PlanConfig& c) { c.schedule.warmup_ratio = 1.5; }, {"warmup_ratio is 1.5"}},
    {"warm_up_below_zero", [](PlanConfig& c) { c.schedule.options.warmup_steps = -1; }, {"warmup_steps is -1"}},
    {"two_of_a_name",
     [](PlanConfig& c) {
         c.stages = {stage("1e"), stage()};
         c.stages[0].name = "stage_2";
     },
     {"Two stages are named 'stage_2'"}},
    {"bad_name", [](PlanConfig& c) { (c.stages = {stage()})[0].name = "a b"; }, {"Stage 'a b': a name has letters"}},
    {"two_ways_to_say_stages",
     [](PlanConfig& c) {
         c.stages = {stage()};
         c.gradual = GradualConfig{};
     },
     {"Stages are given in 2 ways"}},
    {"gradual_longer_than_the_run",
     [](PlanConfig& c) { c.gradual = GradualConfig{}; },
     {"Stage 'gradual_6' ends at update 120, but the run has only 100"}},
    {"fine_tune_without_frozen_epochs",
     [](PlanConfig& c) { c.fine_tune = FineTuneConfig{.freeze_epochs = 0}; },
     {"freeze_epochs is 0"}},
    {"fine_tune_upside_down", [](PlanConfig& c) { c.fine_tune = FineTuneConfig{.lr_mult = 0.5}; }, {"lr_mult is 0.5"}},
};

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
    return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Policies, Refusal, ::testing::ValuesIn(policy_cases), case_name);
INSTANTIATE_TEST_SUITE_P(Rules, Refusal, ::testing::ValuesIn(rule_cases), case_name);
INSTANTIATE_TEST_SUITE_P(Stages, Refusal, ::testing::ValuesIn(stage_cases), case_name);

TEST(Refusal, OfAModelWithoutExtraParts) {
    EXPECT_THAT(message_of<UserError>([] {
                    make_groups(testing::vectors({"bert.embeddings.w", "bert.layers.0.w", "fc.w"}),
                                {.kind = PolicyKind::multipliers});
                }),
                HasSubstr("no part 'extra', nothing between its layers and 'fc'"));
}

TEST(OnUnfreeze, ParsesItsNames) {
    for (const OnUnfreeze value : {OnUnfreeze::keep, OnUnfreeze::reset, OnUnfreeze::reset_all}) {
        EXPECT_EQ(parse_on_unfreeze(on_unfreeze_name(value)), value);
    }
    EXPECT_EQ(parse_on_unfreeze("reset_all"), OnUnfreeze::reset_all);
    EXPECT_THAT(message_of<UserError>([] { parse_on_unfreeze("kept"); }), HasSubstr("Did you mean 'keep'?"));
}

}  // namespace
}  // namespace strata::optim
