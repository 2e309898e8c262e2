#include "apps/strata/train_plan.h"

#include <cmath>

#include "core/error.h"

namespace strata::app {
namespace {

optim::PolicyConfig policy_of(const Config& config) {
    optim::PolicyConfig policy;
    policy.kind = optim::parse_policy_kind(config.layer_decay ? "layer-decay" : config.policy);
    if (config.decay) policy.decay = *config.decay;
    if (config.layer_decay) policy.decay = *config.layer_decay;
    if (config.backbone_multiplier) policy.backbone_multiplier = *config.backbone_multiplier;
    policy.electra = config.convention == "electra";
    policy.pooler_with_head = config.pooler_with_head;
    policy.no_decay = config.no_decay;
    return policy;
}

optim::OptimizerConfig optimizer_of(const Config& config) {
    optim::OptimizerConfig optimizer;
    optimizer.kind = config.optim == "sgd" ? optim::OptimizerKind::sgd : optim::OptimizerKind::adamw;
    optimizer.beta1 = config.adam_beta1;
    optimizer.beta2 = config.adam_beta2;
    optimizer.epsilon = config.adam_epsilon;
    optimizer.weight_decay = config.weight_decay;
    optimizer.momentum = config.momentum;
    optimizer.nesterov = config.nesterov;
    return optimizer;
}

}  // namespace

std::int64_t warmup_steps(const Config& config, std::int64_t total_steps) {
    const double given = config.warmup_steps > 0 ? config.warmup_steps : config.warmup_ratio;
    const bool share = config.warmup_steps > 0 ? given < 1 : true;
    return static_cast<std::int64_t>(share ? std::ceil(given * static_cast<double>(total_steps)) : given);
}

RunLength run_length(const Config& config, std::optional<std::int64_t> samples, int ranks) {
    RunLength length{};
    length.global_batch_size = config.per_device_train_batch_size * config.gradient_accumulation_steps * ranks;
    if (samples) {
        if (*samples < ranks) {
            user_error("{}: {} training samples for {} ranks; every rank needs at least one: use fewer ranks",
                       config.train_file, *samples, ranks);
        }
        length.steps_per_epoch = (*samples + length.global_batch_size - 1) / length.global_batch_size;
    }
    STRATA_CHECK(samples || config.max_steps > 0, "a run's length needs data or max_steps");
    length.total_steps = config.max_steps > 0
                             ? config.max_steps
                             : static_cast<std::int64_t>(
                                   std::ceil(config.num_train_epochs * static_cast<double>(length.steps_per_epoch)));
    return length;
}

optim::Plan make_train_plan(const Config& config, const optim::Manifest& manifest, const RunLength& length, int ranks) {
    optim::PlanConfig plan;
    plan.policy = policy_of(config);
    plan.optimizer = optimizer_of(config);
    optim::Schedule& schedule = plan.schedule.options;
    schedule.kind = config.lr_scheduler_type == "linear" ? optim::ScheduleKind::linear : optim::ScheduleKind::constant;
    schedule.warmup_steps = warmup_steps(config, length.total_steps);
    if (schedule.warmup_steps > length.total_steps) {
        user_error("warmup_steps is {}, but the run has only {} updates", schedule.warmup_steps, length.total_steps);
    }
    plan.learning_rate = config.learning_rate;
    plan.total_steps = length.total_steps;
    plan.steps_per_epoch = length.steps_per_epoch;
    plan.world_size = ranks;
    plan.zero_stage = static_cast<int>(config.zero_stage);
    return optim::make_plan(manifest, plan);
}

}  // namespace strata::app
