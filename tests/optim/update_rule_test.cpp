// The update rules against torch.optim, one hundred steps, each group at its own rate and decay.
#include "optim/update_rule.h"

#include "core/file.h"
#include "optim/fused_update.h"
#include "optim/segment_table.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace strata::optim {
namespace {

using nlohmann::json;

/// A plan whose groups are the fixture's, one parameter each.
Plan fixture_plan(const json& fixture, const json& trajectory) {
    Plan plan;
    plan.total_steps = fixture["steps"];
    const bool adamw = trajectory["optimizer"] == "adamw";
    const json& keys = trajectory["keys"];
    plan.optimizer.kind = adamw ? OptimizerKind::adamw : OptimizerKind::sgd;
    plan.optimizer.weight_decay = trajectory["weight_decay"];
    if (adamw) {
        plan.optimizer.beta1 = keys["betas"][0];
        plan.optimizer.beta2 = keys["betas"][1];
        plan.optimizer.epsilon = keys["eps"];
    } else {
        plan.optimizer.momentum = keys["momentum"];
        plan.optimizer.nesterov = keys["nesterov"];
    }
    Stage stage{"train", 0, plan.total_steps, trajectory["learning_rate"], {ScheduleKind::linear, 0, plan.total_steps},
                {}};
    for (const json& entry : fixture["groups"]) {
        const std::int64_t elements = entry["elements"];
        Group group;
        group.multiplier = entry["multiplier"];
        group.elements = elements;
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

class TorchTrajectory : public ::testing::TestWithParam<std::string> {};

TEST_P(TorchTrajectory, IsFollowed) {
    const json fixture = json::parse(read_file(STRATA_FIXTURES "/optim/optimizers.json"));
    const json& all = fixture["trajectories"];
    const auto found = std::find_if(all.begin(), all.end(), [](const json& t) { return t["name"] == GetParam(); });
    ASSERT_NE(found, all.end());
    const Plan plan = fixture_plan(fixture, *found);
    std::vector<State> states;
    for (const json& initial : (*found)["initial"]) {
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
            states[g].grad = (*found)["gradients"][static_cast<std::size_t>(step)][g].get<std::vector<float>>();
            State& state = states[g];
            buffers.push_back({state.param.data(), state.grad.data(), state.first.data(), state.second.data()});
        }
        const auto spans = build_spans(plan, 0, plan.stages[0].trainable, buffers);
        const std::vector<std::int64_t> group_steps(plan.groups.size(), step + 1);
        fused_update_cpu(plan.optimizer.kind, spans, make_hypers(plan, step, group_steps), {});
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
                         ::testing::Values("adamw", "adamw_other_keys", "sgd", "sgd_momentum", "sgd_nesterov"),
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

}  // namespace
}  // namespace strata::optim
