#include "optim/plan.h"

#include "core/error.h"
#include "optim/plan_stages.h"

#include <cmath>
#include <utility>

namespace strata::optim {

namespace {

void check_run(const PlanConfig& config) {
    if (config.total_steps < 1) {
        user_error("The run has {} steps; it needs at least one. Raise num_train_epochs or max_steps.",
                   config.total_steps);
    }
    if (!(config.learning_rate >= 0.0 && std::isfinite(config.learning_rate))) {
        user_error("learning_rate is {}; it must be 0 or more (2e-5 to 5e-5 is usual for BERT).", config.learning_rate);
    }
    if (config.world_size < 1) user_error("{} ranks; there must be at least one.", config.world_size);
    STRATA_CHECK(config.replicas >= 1 && config.world_size % config.replicas == 0, "{} copies among {} ranks",
                 config.replicas, config.world_size);
    if (config.replicas > 1 && config.deterministic) {
        user_error(
            "deterministic needs one copy of the optimizer state over all ranks: with one on each host, gradients are "
            "summed host by host and not in the order of micro-batches. Say --shard all.");
    }
    if (config.zero_stage != 1 && config.zero_stage != 2) {
        user_error(
            "zero_stage {} is not available; use 1 (each rank keeps its slice of the optimizer state) or 2 (and of the "
            "gradients).",
            config.zero_stage);
    }
    STRATA_CHECK(config.micro_batches >= 1, "{} micro-batches", config.micro_batches);
    STRATA_CHECK(!config.deterministic || config.zero_stage == 2, "deterministic under ZeRO stage {}",
                 config.zero_stage);
    STRATA_CHECK(!config.rounding_seed || config.compute == ComputeType::bf16, "stochastic rounding of {}",
                 name_of(config.compute));
}

/// A rule may give its group figures of its own; they must be of a kind that the optimizer has, and make sense to it.
void check_overrides(const Plan& plan, std::size_t g) {
    const Group& group = plan.groups[g];
    const OptimizerOverrides& own = group.overrides;
    if (plan.optimizer.kind == OptimizerKind::sgd && (own.beta1 || own.beta2 || own.epsilon)) {
        user_error("Group '{}' sets {}, which optimizer '{}' does not have.", group.name,
                   own.beta1 || own.beta2 ? "betas" : "eps", optimizer_name(plan.optimizer.kind));
    }
    if (!own.any()) return;
    try {
        check_optimizer(plan.optimizer_of(g));
    } catch (const UserError& error) {
        user_error("Group '{}': {}", group.name, error.what());
    }
}

Group make_group(const Manifest& manifest, const GroupDraft& draft, const std::vector<std::string>& no_decay) {
    Group group;
    group.name = draft.name;
    group.multiplier = draft.multiplier;
    group.overrides = draft.overrides;
    for (const std::size_t index : draft.parameters) {
        const Parameter& parameter = manifest[index];
        DecayDecision decision = decide_decay(parameter, no_decay);
        group.segments.push_back({parameter.name, parameter.shape, group.elements, parameter.elements(),
                                  decision.decays, std::move(decision.reason)});
        group.elements += parameter.elements();
    }
    return group;
}

}  // namespace

const Stage& Plan::stage_at(std::int64_t step) const {
    for (const Stage& stage : stages) {
        if (step >= stage.first_step && step < stage.end_step) return stage;
    }
    STRATA_CHECK(false, "step {} is outside the plan's {} steps", step, total_steps);
    return stages.back();
}

bool Plan::trainable(std::size_t group, std::int64_t step) const {
    return stage_at(step).trainable.at(group);
}

double Plan::learning_rate(std::size_t group, std::int64_t step) const {
    const Stage& stage = stage_at(step);
    if (!stage.trainable.at(group)) return 0.0;
    return stage.learning_rate * stage.multipliers.at(group) * factor(stage.schedule, step - stage.first_step);
}

OptimizerConfig Plan::optimizer_of(std::size_t group) const {
    return with_overrides(optimizer, groups.at(group).overrides);
}

double Plan::weight_decay(std::size_t group, const Segment& segment) const {
    return segment.decays ? groups.at(group).overrides.weight_decay.value_or(optimizer.weight_decay) : 0.0;
}

std::int64_t Plan::slice_alignment() const {
    return deterministic ? deterministic_tile : optim::slice_alignment;
}

std::int64_t Plan::slice_stride(std::size_t group) const {
    return optim::slice_stride(groups.at(group).elements, owners(), slice_alignment());
}

std::int64_t Plan::padded_elements(std::size_t group) const {
    return optim::padded_elements(groups.at(group).elements, owners(), slice_alignment());
}

Slice Plan::slice(std::size_t group, int owner) const {
    return slice_of(groups.at(group).elements, owner, owners(), slice_alignment());
}

ComputeType Plan::gradient_type() const {
    return zero_stage == 1 && micro_batches > 1 ? ComputeType::fp32 : compute;
}

bool Plan::keeps_sums() const {
    return zero_stage == 2 || (replicas > 1 && gradient_type() != ComputeType::fp32);
}

bool Plan::keeps_masters() const {
    return compute != ComputeType::fp32 && !rounding_seed;
}

std::int64_t Plan::elements() const {
    std::int64_t sum = 0;
    for (const Group& group : groups) sum += group.elements;
    return sum;
}

Plan make_plan(const Manifest& manifest, const PlanConfig& config) {
    check_run(config);
    check_optimizer(config.optimizer);
    Plan plan;
    plan.policy = config.policy.kind;
    plan.optimizer = config.optimizer;
    plan.total_steps = config.total_steps;
    plan.world_size = config.world_size;
    plan.replicas = config.replicas;
    plan.zero_stage = config.zero_stage;
    plan.micro_batches = config.micro_batches;
    plan.deterministic = config.deterministic;
    plan.compute = config.compute;
    plan.rounding_seed = config.rounding_seed;
    for (const GroupDraft& draft : make_groups(manifest, config.policy, config.learning_rate)) {
        plan.groups.push_back(make_group(manifest, draft, config.policy.no_decay));
    }
    for (std::size_t g = 0; g < plan.groups.size(); ++g) check_overrides(plan, g);
    plan.stages = make_stages(config, plan.groups);
    return plan;
}

}  // namespace strata::optim
