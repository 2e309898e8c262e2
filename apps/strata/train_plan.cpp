#include "apps/strata/train_plan.h"

#include <cmath>

#include "apps/strata/config_places.h"
#include "apps/strata/precision.h"
#include "core/error.h"

namespace strata::app {
namespace {

optim::PolicyConfig policy_of(const Config& config) {
    optim::PolicyConfig policy;
    policy.kind = optim::parse_policy_kind(effective_policy(config));
    policy.split = optim::parse_policy_kind(effective_split(config));
    if (config.decay) policy.decay = *config.decay;
    if (config.layer_decay) policy.decay = *config.layer_decay;
    if (config.backbone_multiplier) policy.backbone_multiplier = *config.backbone_multiplier;
    if (!config.multipliers.empty()) policy.part_multipliers = config.multipliers;
    if (config.depth) policy.depth = static_cast<int>(*config.depth);
    policy.slice = {config.low, config.high.value_or(0.0)};
    policy.electra = config.convention == "electra";
    policy.pooler_with_head = config.pooler_with_head;
    policy.no_decay = config.no_decay;
    for (const GroupTable& group : config.group_tables) {
        policy.rules.push_back({group.name,
                                group.match,
                                group.multiplier.value_or(1.0),
                                {group.weight_decay, group.adam_beta1, group.adam_beta2, group.adam_epsilon}});
    }
    return policy;
}

/// Warm-up steps below 1 are a share, as transformers has them.
void set_warmup(optim::ScheduleConfig& schedule, double steps, double ratio) {
    schedule.options.warmup_steps = steps < 1 ? 0 : static_cast<std::int64_t>(steps);
    schedule.warmup_ratio = steps > 0 && steps < 1 ? steps : ratio;
}

void set_figures(optim::Schedule& schedule, const ScheduleFigures& figures) {
    for (const auto& [name, value] : figures) optim::set_schedule_option(schedule, name, value);
}

optim::ScheduleConfig schedule_of(const Config& config) {
    optim::ScheduleConfig schedule;
    schedule.options.kind = optim::parse_schedule_kind(config.lr_scheduler_type);
    set_figures(schedule.options, config.schedule_figures);
    set_warmup(schedule, config.warmup_steps, config.warmup_ratio);
    return schedule;
}

/// A stage's own schedule; what it does not say is the run's, whose figures are for a schedule of the run's kind only.
std::optional<optim::ScheduleConfig> schedule_of(const StageTable& stage, const Config& config) {
    const bool warms_up = stage.warmup_steps || stage.warmup_ratio;
    if (stage.schedule.empty() && stage.figures.empty() && !warms_up) return std::nullopt;
    optim::ScheduleConfig schedule = schedule_of(config);
    const auto kind = stage.schedule.empty() ? schedule.options.kind : optim::parse_schedule_kind(stage.schedule);
    if (kind != schedule.options.kind) {
        schedule.options = {.kind = kind, .warmup_steps = schedule.options.warmup_steps};
    }
    set_figures(schedule.options, stage.figures);
    // The run's warm-up is not for a schedule that rises by its own figures.
    if (!optim::has_warmup(schedule.options.kind)) set_warmup(schedule, 0.0, 0.0);
    if (warms_up) {
        set_warmup(schedule, stage.warmup_steps.value_or(0.0), stage.warmup_ratio.value_or(0.0));
    }
    return schedule;
}

optim::StageConfig stage_of(const StageTable& table, std::size_t number, const Config& config) {
    optim::StageConfig stage;
    stage.name = table.name.empty() ? fmt::format("stage_{}", number) : table.name;
    if (!table.length.empty()) stage.length = optim::parse_length(table.length);
    if (table.freeze_to) stage.freeze_to = static_cast<int>(*table.freeze_to);
    if (!table.groups.empty()) stage.groups = table.groups;
    stage.learning_rate = table.learning_rate;
    if (table.slice.size() == 1) stage.slice = optim::RateSlice{std::nullopt, table.slice[0]};
    if (table.slice.size() == 2) stage.slice = optim::RateSlice{table.slice[0], table.slice[1]};
    if (table.warmup_steps && table.warmup_ratio && *table.warmup_steps > 0 && *table.warmup_ratio > 0) {
        user_error("Stage '{}' says its warm-up in two ways, warmup_steps and warmup_ratio; keep one.", stage.name);
    }
    stage.schedule = schedule_of(table, config);
    if (!table.on_unfreeze.empty()) stage.on_unfreeze = optim::parse_on_unfreeze(table.on_unfreeze);
    return stage;
}

optim::GradualConfig gradual_of(const GradualTable& table) {
    optim::GradualConfig gradual;
    if (!table.each.empty()) gradual.each = optim::parse_length(table.each);
    if (!table.on_unfreeze.empty()) gradual.on_unfreeze = optim::parse_on_unfreeze(table.on_unfreeze);
    return gradual;
}

optim::FineTuneConfig fine_tune_of(const FineTuneTable& table) {
    optim::FineTuneConfig fine_tune;
    fine_tune.freeze_epochs = table.freeze_epochs.value_or(fine_tune.freeze_epochs);
    fine_tune.lr_mult = table.lr_mult.value_or(fine_tune.lr_mult);
    fine_tune.pct_start = table.pct_start.value_or(fine_tune.pct_start);
    fine_tune.div = table.div.value_or(fine_tune.div);
    return fine_tune;
}

/// What is asked for most directly wins: updates, then epochs, then what the stages make together.
std::int64_t total_steps(const Config& config, std::int64_t steps_per_epoch) {
    if (config.max_steps > 0) return config.max_steps;
    if (config.num_train_epochs <= 0 && stages_set_length(config)) {
        return optim::steps_of_stages(stages_of(config), steps_per_epoch).value();
    }
    STRATA_CHECK(steps_per_epoch > 0, "a run's length needs data, max_steps or stages");
    return static_cast<std::int64_t>(std::ceil(train_epochs(config) * static_cast<double>(steps_per_epoch)));
}

int state_copies(const Config& config, int ranks, std::int64_t ranks_per_host) {
    if (config.shard == "all") return 1;
    if (ranks_per_host < 1) {
        user_error(
            "--shard node keeps a copy of the optimizer state on each host: say --ranks_per_host to plan for it");
    }
    if (ranks % ranks_per_host != 0) {
        user_error("{} ranks are not whole hosts of {}; choose another number of ranks or ranks_per_host", ranks,
                   ranks_per_host);
    }
    return ranks / static_cast<int>(ranks_per_host);
}

/// All ranks', that an update is cut into.
std::int64_t micro_batches(const Config& config, int ranks) {
    const std::int64_t count =
        config.micro_batches > 0 ? config.micro_batches : config.gradient_accumulation_steps * ranks;
    if (count < ranks) {
        user_error("micro_batches is {}, but there are {} ranks; each needs at least one: raise it or use fewer ranks",
                   count, ranks);
    }
    return count;
}

}  // namespace

std::vector<optim::StageConfig> stages_of(const Config& config) {
    std::vector<optim::StageConfig> stages;
    for (const StageTable& table : config.stage_tables) stages.push_back(stage_of(table, stages.size() + 1, config));
    return stages;
}

std::int64_t global_batch_size(const Config& config, int ranks) {
    return config.per_device_train_batch_size * micro_batches(config, ranks);
}

RunLength run_length(const Config& config, std::optional<std::int64_t> samples, int ranks) {
    RunLength length{};
    length.micro_batches = micro_batches(config, ranks);
    length.global_batch_size = global_batch_size(config, ranks);
    if (samples) {
        if (*samples < ranks) {
            user_error("{}: {} training samples for {} ranks; every rank needs at least one: use fewer ranks",
                       config.train_file, *samples, ranks);
        }
        length.steps_per_epoch = (*samples + length.global_batch_size - 1) / length.global_batch_size;
    }
    length.total_steps = naming_places(config, [&] { return total_steps(config, length.steps_per_epoch); });
    return length;
}

optim::Plan make_train_plan(const Config& config, const optim::Manifest& manifest, const RunLength& length, int ranks,
                            int ranks_per_host) {
    return naming_places(config, [&] {
        optim::PlanConfig plan;
        plan.policy = policy_of(config);
        plan.optimizer = optimizer_config(config);
        plan.schedule = schedule_of(config);
        plan.stages = stages_of(config);
        if (config.gradual) plan.gradual = gradual_of(*config.gradual);
        if (config.fine_tune) plan.fine_tune = fine_tune_of(*config.fine_tune);
        plan.learning_rate = config.learning_rate;
        plan.total_steps = length.total_steps;
        plan.steps_per_epoch = length.steps_per_epoch;
        plan.world_size = ranks;
        plan.replicas = state_copies(config, ranks, ranks_per_host > 0 ? ranks_per_host : config.ranks_per_host);
        // Sums of gradients in the order of micro-batches are what stage 2 makes.
        plan.zero_stage = config.deterministic ? 2 : static_cast<int>(config.zero_stage);
        plan.micro_batches = static_cast<int>((length.micro_batches + ranks - 1) / ranks);
        plan.deterministic = config.deterministic;
        plan.compute = compute_type(config);
        if (config.stochastic_rounding) plan.rounding_seed = static_cast<std::uint64_t>(config.seed);
        return optim::make_plan(manifest, plan);
    });
}

}  // namespace strata::app
