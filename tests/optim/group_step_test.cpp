// What one step does to each group: it moves exactly as its own rate and its own step count say, and a frozen group not
// by a bit, however many groups there are and in one pass over all of them.
#include "kernel_walk.h"
#include "optim/fused_update.h"
#include "optim/segment_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace strata::optim {
namespace {

constexpr std::int64_t group_elements = 37;

/// `count` groups of one tensor each, every third frozen, rates falling from group to group.
Plan plan_of(std::size_t count, const OptimizerConfig& optimizer, std::int64_t steps = 10) {
    Plan plan;
    plan.total_steps = steps;
    plan.optimizer = optimizer;
    plan.stages.push_back({"train", 0, steps, 0.5, {ScheduleKind::constant, 0, steps}, {}});
    for (std::size_t g = 0; g < count; ++g) {
        Group group;
        group.name = fmt::format("group_{}", g);
        group.multiplier = std::pow(0.99, static_cast<double>(g));
        group.elements = group_elements;
        group.segments.push_back({group.name, {group_elements}, 0, group_elements, true, ""});
        plan.stages[0].multipliers.push_back(group.multiplier);
        plan.groups.push_back(group);
        plan.stages[0].trainable.push_back(g % 3 != 1);
    }
    return plan;
}

/// Every group's buffers, side by side.
struct Memory {
    explicit Memory(std::size_t groups, float value)
        : param(groups * group_elements, value), grad(param.size()), first(param.size()), second(param.size()) {
        for (std::size_t i = 0; i < grad.size(); ++i) grad[i] = i % 2 == 0 ? 0.25F : -4.0F;
    }
    std::vector<UpdateSpan> spans(const Plan& plan) {
        std::vector<SliceBuffers> buffers;
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            const std::size_t at = g * group_elements;
            buffers.push_back({param.data() + at, grad.data() + at, first.data() + at, second.data() + at});
        }
        return build_spans(plan, 0, plan.stages[0].trainable, buffers);
    }
    std::vector<float> param, grad, first, second;
};

void update(const Plan& plan, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers) {
    if (plan.optimizer.kind != OptimizerKind::lamb) return fused_update_cpu(plan.optimizer.kind, spans, hypers, {});
    std::vector<double> tensor_sums(2 * tensor_of_sums(plan).size());
    lamb_moments_cpu(spans, hypers, {}, tensor_sums);
    lamb_apply_cpu(spans, hypers, {}, tensor_sums);
}

std::vector<GroupHyper> first_hypers(const Plan& plan) {
    return make_hypers(plan, 0, std::vector<std::int64_t>(plan.groups.size(), 1));
}

const std::vector<OptimizerConfig> optimizers{
    {.kind = OptimizerKind::adamw, .weight_decay = 0.1},
    {.kind = OptimizerKind::adam, .weight_decay = 0.1},
    {.kind = OptimizerKind::sgd, .weight_decay = 0.1},
    {.kind = OptimizerKind::sgd, .weight_decay = 0.1, .momentum = 0.9},
    {.kind = OptimizerKind::lamb, .weight_decay = 0.1},
};

TEST(GroupStep, MovesEveryGroupByItsOwnRateAndFrozenOnesNotByABit) {
    for (const OptimizerConfig& optimizer : optimizers) {
        const Plan plan = plan_of(14, optimizer);
        // From 0, where the whole of the new value is the step, and neither decay nor a trust ratio plays a part.
        Memory memory(14, 0.0F);
        update(plan, memory.spans(plan), first_hypers(plan));
        for (std::size_t i = 0; i < memory.param.size(); ++i) {
            const std::size_t g = i / group_elements;
            const bool frozen = g % 3 == 1;
            const double rate = 0.5 * std::pow(0.99, static_cast<double>(g));
            // Adam's first step is the sign of the gradient, SGD's the gradient.
            const double direction = optimizer.kind == OptimizerKind::sgd ? memory.grad[i] : (i % 2 == 0 ? 1.0 : -1.0);
            const double expected = frozen ? 0.0 : -rate * direction;
            EXPECT_NEAR(memory.param[i], expected, 2e-7 * std::abs(expected))
                << optimizer_name(optimizer.kind) << " group " << g;
        }
    }
}

TEST(GroupStep, FrozenGroupsKeepTheirStateToo) {
    for (const OptimizerConfig& optimizer : optimizers) {
        const Plan plan = plan_of(14, optimizer);
        Memory memory(14, 1.5F);
        update(plan, memory.spans(plan), first_hypers(plan));
        for (std::size_t i = 0; i < memory.param.size(); ++i) {
            const bool frozen = i / group_elements % 3 == 1;
            EXPECT_EQ(memory.param[i] == 1.5F, frozen);
            if (!frozen) continue;
            EXPECT_EQ(memory.first[i], 0.0F);
            EXPECT_EQ(memory.second[i], 0.0F);
        }
    }
}

TEST(GroupStep, OneGridIsEnoughForAnyNumberOfGroups) {
    for (const std::size_t groups : {1U, 14U, 62U, 465U}) {
        for (const auto& [kind, pass] :
             {std::pair{OptimizerKind::adamw, Pass::adamw}, {OptimizerKind::sgd, Pass::sgd}}) {
            const Plan plan = plan_of(groups, {.kind = kind, .weight_decay = 0.1});
            Memory expected(groups, 1.5F);
            Memory actual = expected;
            update(plan, expected.spans(plan), first_hypers(plan));
            const auto spans = actual.spans(plan);
            const auto hypers = first_hypers(plan);
            const auto tiles = first_tiles(spans);
            const UpdateControl control;
            const UpdateTables tables{
                spans.data(), tiles.data(), hypers.data(), &control, static_cast<std::int64_t>(spans.size()),
                tiles.back()};
            testing::walk(pass, false, tables, 4, kernel_threads);
            EXPECT_EQ(actual.param, expected.param) << groups << " groups";
        }
    }
}

TEST(GroupStep, AGroupThatStartsAnewTrainsAsIfTheRunBeganThere) {
    for (const OptimizerConfig& optimizer : optimizers) {
        const Plan plan = plan_of(3, optimizer, 100);
        const auto train = [&](Memory& memory, std::int64_t first_step, std::int64_t first_count) {
            for (std::int64_t k = 0; k < 5; ++k) {
                const std::vector<std::int64_t> counts{50 + k, 1, first_count + k};
                update(plan, memory.spans(plan), make_hypers(plan, first_step + k, counts));
            }
        };
        Memory from_start(3, 1.5F);
        train(from_start, 0, 1);
        // Thawed at step 50 with zero moments and its own count from 1.
        Memory thawed(3, 1.5F);
        train(thawed, 50, 1);
        // The same with the run's count: what bias correction must not see.
        Memory wrong(3, 1.5F);
        train(wrong, 50, 51);
        const std::size_t at = 2 * group_elements;
        for (std::size_t i = at; i < thawed.param.size(); ++i) {
            EXPECT_EQ(thawed.param[i], from_start.param[i]) << optimizer_name(optimizer.kind);
            if (optimizer.kind == OptimizerKind::sgd) continue;  // corrects no bias
            EXPECT_NE(wrong.param[i], from_start.param[i]);
        }
    }
}

}  // namespace
}  // namespace strata::optim
