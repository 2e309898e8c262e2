// Plans and models made by hand: any groups, any shapes, values that depend on the name alone.
#pragma once

#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "dist/group_storage.h"
#include "optim/plan.h"

namespace strata::dist::testing {

struct TestParameter {
    std::string name;
    std::vector<std::int64_t> shape;
    bool decays = true;
};

struct TestGroup {
    std::string name;
    double multiplier = 1.0;
    std::vector<TestParameter> parameters;
};

inline optim::Plan make_test_plan(const std::vector<TestGroup>& groups, int ranks,
                                  const optim::OptimizerConfig& optimizer = {}, double learning_rate = 0.01) {
    constexpr std::int64_t steps = 1000;
    optim::Plan plan;
    plan.optimizer = optimizer;
    plan.total_steps = steps;
    plan.world_size = ranks;
    optim::Stage stage{"train", 0, steps, learning_rate, {optim::ScheduleKind::constant, 0, steps}, {}};
    for (const TestGroup& from : groups) {
        optim::Group group{from.name, from.multiplier, {}, 0};
        for (const TestParameter& parameter : from.parameters) {
            std::int64_t elements = 1;
            for (const std::int64_t dimension : parameter.shape) elements *= dimension;
            group.segments.push_back({parameter.name, parameter.shape, group.elements, elements, parameter.decays, ""});
            group.elements += elements;
        }
        plan.groups.push_back(std::move(group));
        stage.trainable.push_back(from.multiplier != 0.0);
        stage.multipliers.push_back(from.multiplier);
    }
    plan.stages.push_back(std::move(stage));
    return plan;
}

/// The same under stage 2, with `micro_batches` on each rank.
inline optim::Plan in_stage_two(optim::Plan plan, int micro_batches = 1) {
    plan.zero_stage = 2;
    plan.micro_batches = micro_batches;
    return plan;
}

/// One leaf tensor a parameter, filled by a generator seeded with the name.
inline NamedParameters make_parameters(const std::vector<TestGroup>& groups) {
    NamedParameters parameters;
    for (const TestGroup& group : groups) {
        for (const TestParameter& parameter : group.parameters) {
            auto generator = at::make_generator<at::CPUGeneratorImpl>(std::hash<std::string>{}(parameter.name));
            parameters.emplace_back(parameter.name, torch::randn(parameter.shape, generator).set_requires_grad(true));
        }
    }
    return parameters;
}

/// Groups that are hard to share out: fewer elements than ranks, primes, mixed decay, a frozen one, a large one.
inline std::vector<TestGroup> awkward_groups() {
    return {{"embeddings", 0.5, {{"word", {101, 7}}}},
            {"frozen", 0.0, {{"kept.weight", {13, 5}}, {"kept.bias", {5}, false}}},
            {"middle", 0.7, {{"dense.weight", {7, 17}}, {"dense.bias", {17}, false}, {"norm.weight", {17}, false}}},
            {"bias", 1.0, {{"out.bias", {2}, false}}},
            {"head", 1.0, {{"head.weight", {17, 3}}, {"head.bias", {3}, false}}}};
}

inline constexpr std::int64_t staged_steps = 24;

/// awkward_groups() in four stages of six steps: the head; then down to `middle`; then the embeddings and `middle`
/// without a head; then everything. `frozen` never.
inline optim::Plan staged_plan(const std::vector<TestGroup>& groups, int ranks,
                               optim::OnUnfreeze on_unfreeze = optim::OnUnfreeze::keep,
                               optim::OptimizerKind kind = optim::OptimizerKind::adamw) {
    optim::OptimizerConfig optimizer;
    optimizer.kind = kind;
    optimizer.weight_decay = 0.1;
    optim::Plan plan = make_test_plan(groups, ranks, optimizer);
    const optim::Stage whole = plan.stages.front();
    plan.stages.clear();
    plan.total_steps = staged_steps;
    const std::vector<std::vector<bool>> trainable = {{false, false, false, false, true},
                                                      {false, false, true, true, true},
                                                      {true, false, true, false, false},
                                                      {true, false, true, true, true}};
    for (std::size_t i = 0; i < trainable.size(); ++i) {
        optim::Stage stage = whole;
        stage.name = "stage_" + std::to_string(i + 1);
        stage.first_step = static_cast<std::int64_t>(i) * 6;
        stage.end_step = stage.first_step + 6;
        stage.learning_rate = 0.01 / static_cast<double>(i + 1);
        stage.schedule.total_steps = 6;
        stage.trainable = trainable[i];
        stage.on_unfreeze = on_unfreeze;
        plan.stages.push_back(stage);
    }
    return plan;
}

inline std::string bits_of(const torch::Tensor& tensor) {
    const torch::Tensor packed = tensor.detach().contiguous();
    return {static_cast<const char*>(packed.const_data_ptr()), packed.nbytes()};
}

inline std::string bits_of(const NamedParameters& parameters) {
    std::string bits;
    for (const auto& [name, tensor] : parameters) bits += bits_of(tensor);
    return bits;
}

}  // namespace strata::dist::testing
