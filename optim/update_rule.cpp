#include "optim/update_rule.h"

#include "core/error.h"
#include "optim/stochastic_rounding.h"

#include <optional>

namespace strata::optim {

namespace {

/// The group's optimizer with what its stage's schedule makes of momentum at this step.
OptimizerConfig optimizer_at(const Plan& plan, std::size_t group, std::int64_t step) {
    OptimizerConfig optimizer = plan.optimizer_of(group);
    const Stage& stage = plan.stage_at(step);
    const std::optional<double> cycled = momentum(stage.schedule, step - stage.first_step);
    if (!cycled) return optimizer;
    if (optimizer.kind == OptimizerKind::sgd) {
        if (optimizer.momentum != 0.0) optimizer.momentum = *cycled;
    } else if (!plan.groups[group].overrides.beta1) {
        optimizer.beta1 = *cycled;
    }
    return optimizer;
}

}  // namespace

GroupHyper make_hyper(const Plan& plan, std::size_t group, std::int64_t step, std::int64_t group_step) {
    STRATA_CHECK(group_step >= 1, "group step {}; the first update of a group is its step 1", group_step);
    const OptimizerConfig optimizer = optimizer_at(plan, group, step);
    const double lr = plan.learning_rate(group, step);
    GroupHyper hyper;
    hyper.lr = static_cast<float>(lr);
    if (plan.rounding_seed) hyper.rounding = rounding_step_key(*plan.rounding_seed, step);
    hyper.weight_decay = static_cast<float>(optimizer.weight_decay);
    if (optimizer.kind == OptimizerKind::sgd) {
        hyper.momentum = static_cast<float>(optimizer.momentum);
        hyper.nesterov = optimizer.nesterov ? 1 : 0;
        hyper.first_update = group_step == 1 ? 1 : 0;
        return hyper;
    }
    const auto t = static_cast<double>(group_step);
    const double bias_correction1 = 1.0 - std::pow(optimizer.beta1, t);
    hyper.step_size = static_cast<float>(lr / bias_correction1);
    hyper.decay_factor = static_cast<float>(1.0 - lr * optimizer.weight_decay);
    hyper.one_minus_beta1 = static_cast<float>(1.0 - optimizer.beta1);
    hyper.beta2 = static_cast<float>(optimizer.beta2);
    hyper.one_minus_beta2 = static_cast<float>(1.0 - optimizer.beta2);
    hyper.bias_correction1 = static_cast<float>(bias_correction1);
    hyper.bias_correction2_sqrt = static_cast<float>(std::sqrt(1.0 - std::pow(optimizer.beta2, t)));
    hyper.epsilon = static_cast<float>(optimizer.epsilon);
    return hyper;
}

std::vector<GroupHyper> make_hypers(const Plan& plan, std::int64_t step, std::span<const std::int64_t> group_steps) {
    STRATA_CHECK(group_steps.size() == plan.groups.size(), "{} step counts for {} groups", group_steps.size(),
                 plan.groups.size());
    std::vector<GroupHyper> hypers(plan.groups.size());
    for (std::size_t g = 0; g < hypers.size(); ++g) {
        // A frozen group is in no span; its entry only keeps the table's indexes those of the plan.
        if (plan.trainable(g, step)) hypers[g] = make_hyper(plan, g, step, group_steps[g]);
    }
    return hypers;
}

}  // namespace strata::optim
