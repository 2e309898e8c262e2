// The update rules against torch.optim, one hundred steps, each group at its own rate and decay.
#include "optim/update_rule.h"

#include "core/file.h"
#include "optim/fused_update.h"
#include "optim/segment_table.h"
#include "optim/stochastic_rounding.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace strata::optim {
namespace {

using nlohmann::json;

OptimizerConfig fixture_optimizer(const json& trajectory) {
    OptimizerConfig optimizer{.kind = parse_optimizer_kind(trajectory["optimizer"].get<std::string>())};
    const json& keys = trajectory["keys"];
    optimizer.weight_decay = trajectory["weight_decay"];
    if (optimizer.kind == OptimizerKind::sgd) {
        optimizer.momentum = keys["momentum"];
        optimizer.nesterov = keys["nesterov"];
    } else {
        optimizer.beta1 = keys["betas"][0];
        optimizer.beta2 = keys["betas"][1];
        optimizer.epsilon = keys["eps"];
    }
    return optimizer;
}

OptimizerOverrides fixture_overrides(const json& own) {
    OptimizerOverrides overrides;
    if (own.contains("weight_decay")) overrides.weight_decay = own["weight_decay"].get<double>();
    if (own.contains("eps")) overrides.epsilon = own["eps"].get<double>();
    if (own.contains("betas")) {
        overrides.beta1 = own["betas"][0].get<double>();
        overrides.beta2 = own["betas"][1].get<double>();
    }
    return overrides;
}

/// A plan whose groups are the fixture's, one parameter each.
Plan fixture_plan(const json& fixture, const json& trajectory) {
    Plan plan;
    plan.total_steps = fixture["steps"];
    plan.optimizer = fixture_optimizer(trajectory);
    const Schedule schedule{parse_schedule_kind(trajectory["schedule"].get<std::string>()), 0, plan.total_steps};
    Stage stage{"train", 0, plan.total_steps, trajectory["learning_rate"], schedule, {}};
    for (std::size_t g = 0; g < fixture["groups"].size(); ++g) {
        const json& entry = fixture["groups"][g];
        const std::int64_t elements = entry["elements"];
        Group group;
        group.multiplier = entry["multiplier"];
        group.elements = elements;
        group.overrides = fixture_overrides(trajectory["overrides"][g]);
        group.segments.push_back({"p", {elements}, 0, elements, entry["decays"], ""});
        plan.groups.push_back(group);
        stage.trainable.push_back(true);
        stage.multipliers.push_back(group.multiplier);
    }
    plan.stages.push_back(stage);
    return plan;
}

struct State {
    std::vector<float> param, grad, first, second;
};

void expect_near(const std::vector<float>& ours, const std::vector<float>& torch, const std::string& what) {
    ASSERT_EQ(ours.size(), torch.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
        EXPECT_NEAR(ours[i], torch[i], 1e-6 * std::max(1.0F, std::abs(torch[i]))) << what << " element " << i;
    }
}

void update(const Plan& plan, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers) {
    if (plan.optimizer.kind != OptimizerKind::lamb) return fused_update_cpu(plan.optimizer.kind, spans, hypers, {});
    std::vector<double> tensor_sums(2 * tensor_of_sums(plan).size());
    lamb_moments_cpu(spans, hypers, {}, tensor_sums);
    lamb_apply_cpu(spans, hypers, {}, tensor_sums);
}

class TorchTrajectory : public ::testing::TestWithParam<std::string> {};

TEST_P(TorchTrajectory, IsFollowed) {
    const json fixture = json::parse(read_file(STRATA_FIXTURES "/optim/optimizers.json"));
    const json& all = fixture["trajectories"];
    const auto found = std::find_if(all.begin(), all.end(), [](const json& t) { return t["name"] == GetParam(); });
    ASSERT_NE(found, all.end());
    const Plan plan = fixture_plan(fixture, *found);
    std::vector<State> states;
    for (const json& initial : fixture["initial"]) {
        State state;
        state.param = initial.get<std::vector<float>>();
        state.grad.resize(state.param.size());
        state.first.resize(state.param.size());
        state.second.resize(state.param.size());
        states.push_back(state);
    }
    int compared = 0;
    for (std::int64_t step = 0; step < plan.total_steps; ++step) {
        std::vector<SliceBuffers> buffers;
        for (std::size_t g = 0; g < states.size(); ++g) {
            states[g].grad = fixture["gradients"][static_cast<std::size_t>(step)][g].get<std::vector<float>>();
            State& state = states[g];
            buffers.push_back({state.param.data(), state.grad.data(), state.first.data(), state.second.data()});
        }
        const auto spans = build_spans(plan, 0, plan.stages[0].trainable, buffers);
        const std::vector<std::int64_t> group_steps(plan.groups.size(), step + 1);
        update(plan, spans, make_hypers(plan, step, group_steps));
        const std::string done = std::to_string(step + 1);
        if (!(*found)["parameters"].contains(done)) continue;
        ++compared;
        for (std::size_t g = 0; g < states.size(); ++g) {
            expect_near(states[g].param, (*found)["parameters"][done][g].get<std::vector<float>>(),
                        "step " + done + " group " + std::to_string(g));
        }
    }
    EXPECT_EQ(compared, 4);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, TorchTrajectory,
                         ::testing::Values("adamw", "adamw_other_keys", "adamw_overrides", "adamw_one_cycle", "adam",
                                           "adam_overrides", "sgd", "sgd_momentum", "sgd_nesterov", "sgd_one_cycle",
                                           "lamb", "lamb_overrides"),
                         [](const auto& trajectory) { return trajectory.param; });

TEST(MakeHyper, CorrectsBiasByTheGroupsOwnSteps) {
    PlanConfig config;
    config.policy.kind = PolicyKind::single;
    config.schedule.options.kind = ScheduleKind::constant;
    config.learning_rate = 1e-3;
    config.total_steps = 1000;
    config.optimizer.weight_decay = 0.5;
    const Plan plan = make_plan({{"a", {3}}}, config);
    const GroupHyper late = make_hyper(plan, 0, 900, 1);
    EXPECT_FLOAT_EQ(late.step_size, 1e-2F);
    EXPECT_FLOAT_EQ(late.bias_correction2_sqrt, std::sqrt(1e-3F));
    EXPECT_FLOAT_EQ(late.decay_factor, 0.9995F);
    EXPECT_FLOAT_EQ(make_hyper(plan, 0, 900, 901).step_size, 1e-3F);
    EXPECT_THROW(make_hyper(plan, 0, 900, 0), std::logic_error);
}

/// One group that trains at a constant rate of 1e-3 with decay 0.5, under an optimizer and a schedule.
Plan one_group_plan(const OptimizerConfig& optimizer, const Schedule& schedule) {
    Plan plan;
    plan.total_steps = schedule.total_steps;
    plan.optimizer = optimizer;
    plan.groups.resize(1);
    plan.groups[0].elements = 1;
    plan.groups[0].segments.push_back({"p", {1}, 0, 1, true, ""});
    plan.stages.push_back({"train", 0, schedule.total_steps, 1e-3, schedule, {true}, {1.0}});
    return plan;
}

TEST(MakeHyper, HasTheStepsKeyForStochasticRounding) {
    for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd, OptimizerKind::lamb}) {
        Plan plan = one_group_plan({.kind = kind}, {ScheduleKind::constant, 0, 100});
        EXPECT_EQ(make_hyper(plan, 0, 25, 26).rounding, 0U);
        plan.rounding_seed = 42;
        EXPECT_EQ(make_hyper(plan, 0, 25, 26).rounding, rounding_step_key(42, 25)) << "the run's step";
    }
    EXPECT_NE(rounding_step_key(42, 25), rounding_step_key(42, 26));
    EXPECT_NE(rounding_step_key(42, 25), rounding_step_key(43, 25));
}

TEST(MakeHyper, CyclesMomentumOnlyWhereThereIsAny) {
    const Schedule cycle{ScheduleKind::one_cycle, 0, 100};  // momentum 0.85 at step 25
    const auto sgd = [&](double momentum) {
        return make_hyper(one_group_plan({.kind = OptimizerKind::sgd, .momentum = momentum}, cycle), 0, 25, 26);
    };
    EXPECT_FLOAT_EQ(sgd(0.9).momentum, 0.85F);
    EXPECT_EQ(sgd(0.0).momentum, 0.0F);

    for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::lamb}) {
        Plan plan = one_group_plan({.kind = kind}, cycle);
        EXPECT_FLOAT_EQ(make_hyper(plan, 0, 25, 26).one_minus_beta1, 0.15F);
        EXPECT_FLOAT_EQ(make_hyper(plan, 0, 25, 1).bias_correction1, 0.15F);
        plan.groups[0].overrides.beta1 = 0.5;
        EXPECT_FLOAT_EQ(make_hyper(plan, 0, 25, 26).one_minus_beta1, 0.5F);
        Schedule still = cycle;
        still.cycle_momentum = 0.0;
        EXPECT_FLOAT_EQ(make_hyper(one_group_plan({.kind = kind}, still), 0, 25, 26).one_minus_beta1, 0.1F);
    }
}

TEST(MakeHyper, CyclesMomentumByTheStepsOfItsStage) {
    Plan plan = one_group_plan({}, {ScheduleKind::constant, 0, 50});
    plan.total_steps = 150;
    plan.stages.push_back({"second", 50, 150, 1e-3, {ScheduleKind::one_cycle, 0, 100}, {true}, {1.0}});
    EXPECT_FLOAT_EQ(make_hyper(plan, 0, 49, 1).one_minus_beta1, 0.1F);
    EXPECT_FLOAT_EQ(make_hyper(plan, 0, 50, 1).one_minus_beta1, 0.05F);
    EXPECT_FLOAT_EQ(make_hyper(plan, 0, 75, 1).one_minus_beta1, 0.15F);
}

}  // namespace
}  // namespace strata::optim
