#include "optim/plan.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/shard.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace strata::optim {

namespace {

void check_optimizer(const OptimizerConfig& optimizer) {
    const auto at_least_zero = [](std::string_view key, double value) {
        if (!(value >= 0.0 && std::isfinite(value))) user_error("{} is {}; it must be 0 or more.", key, value);
    };
    const auto fraction = [](std::string_view key, double value) {
        if (!(value >= 0.0 && value < 1.0)) user_error("{} is {}; it must be in [0, 1).", key, value);
    };
    at_least_zero("weight_decay", optimizer.weight_decay);
    at_least_zero("adam_epsilon", optimizer.epsilon);
    fraction("adam_beta1", optimizer.beta1);
    fraction("adam_beta2", optimizer.beta2);
    fraction("momentum", optimizer.momentum);
    if (optimizer.nesterov && optimizer.momentum == 0.0) {
        user_error("Nesterov needs momentum: set momentum above 0 (0.9 is usual), or nesterov to false.");
    }
}

void check_run(const PlanConfig& config) {
    if (config.total_steps < 1) {
        user_error("The run has {} steps; it needs at least one. Raise num_train_epochs or max_steps.",
                   config.total_steps);
    }
    if (config.warmup_steps < 0) user_error("warmup_steps is {}; it must be 0 or more.", config.warmup_steps);
    if (config.warmup_steps > config.total_steps) {
        user_error("The warm-up of {} steps is longer than the run of {}. Lower warmup_steps or train longer.",
                   config.warmup_steps, config.total_steps);
    }
    if (!(config.learning_rate >= 0.0 && std::isfinite(config.learning_rate))) {
        user_error("learning_rate is {}; it must be 0 or more (2e-5 to 5e-5 is usual for BERT).", config.learning_rate);
    }
    if (config.world_size < 1) user_error("{} ranks; there must be at least one.", config.world_size);
    if (config.zero_stage != 1) {
        user_error("zero_stage {} is not available; use 1 (each rank keeps its slice of the optimizer state).",
                   config.zero_stage);
    }
}

Group make_group(const Manifest& manifest, const GroupDraft& draft, const std::vector<std::string>& no_decay) {
    Group group;
    group.name = draft.name;
    group.multiplier = draft.multiplier;
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

std::string_view optimizer_name(OptimizerKind kind) {
    switch (kind) {
        case OptimizerKind::adamw:
            return "adamw";
        case OptimizerKind::sgd:
            return "sgd";
    }
    STRATA_CHECK(false, "unknown optimizer {}", static_cast<int>(kind));
    return {};
}

OptimizerKind parse_optimizer_kind(std::string_view name) {
    if (name == "adamw" || name == "adamw_torch" || name == "adamw_torch_fused") return OptimizerKind::adamw;
    if (name == "sgd") return OptimizerKind::sgd;
    user_error("Unknown optimizer '{}'.{} The optimizers are adamw and sgd.", name,
               did_you_mean(name, {"adamw", "sgd"}));
}

int state_tensors(const OptimizerConfig& optimizer) {
    if (optimizer.kind == OptimizerKind::adamw) return 2;
    return optimizer.momentum != 0.0 ? 1 : 0;
}

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
    return stage.learning_rate * groups[group].multiplier * factor(stage.schedule, step - stage.first_step);
}

double Plan::weight_decay(const Segment& segment) const {
    return segment.decays ? optimizer.weight_decay : 0.0;
}

std::int64_t Plan::elements() const {
    std::int64_t sum = 0;
    for (const Group& group : groups) sum += group.elements;
    return sum;
}

Plan make_plan(const Manifest& manifest, const PlanConfig& config) {
    check_run(config);
    check_optimizer(config.optimizer);
    const std::vector<GroupDraft> drafts = make_groups(manifest, config.policy);

    Plan plan;
    plan.policy = config.policy.kind;
    plan.optimizer = config.optimizer;
    plan.total_steps = config.total_steps;
    plan.world_size = config.world_size;
    plan.zero_stage = config.zero_stage;
    Stage stage{"train",
                0,
                config.total_steps,
                config.learning_rate,
                Schedule{config.schedule, config.warmup_steps, config.total_steps},
                {}};
    for (const GroupDraft& draft : drafts) {
        plan.groups.push_back(make_group(manifest, draft, config.policy.no_decay));
        stage.trainable.push_back(draft.multiplier != 0.0);
    }
    if (std::find(stage.trainable.begin(), stage.trainable.end(), true) == stage.trainable.end()) {
        user_error("Every group is frozen (multiplier 0), so there is nothing to train.");
    }
    plan.stages.push_back(std::move(stage));
    return plan;
}

RankMemory memory_per_rank(const Plan& plan, int rank, std::int64_t step) {
    constexpr std::int64_t bytes = sizeof(float);
    RankMemory memory;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const std::int64_t elements = plan.groups[g].elements;
        const std::int64_t padded = padded_elements(elements, plan.world_size);
        memory.parameter_bytes += bytes * padded;
        if (!plan.trainable(g, step)) continue;
        memory.gradient_bytes += bytes * padded;
        memory.state_bytes += bytes * state_tensors(plan.optimizer) * slice_of(elements, rank, plan.world_size).size();
    }
    return memory;
}

}  // namespace strata::optim
