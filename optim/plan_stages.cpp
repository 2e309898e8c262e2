#include "optim/plan_stages.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/pattern.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace strata::optim {

namespace {

/// Sums of lengths such as a third of an epoch miss whole steps by rounding errors; those are not steps.
constexpr double step_tolerance = 1e-6;

std::string stage_text(const Stage& stage) {
    return fmt::format("Stage '{}'", stage.name);
}

bool any_true(const std::vector<bool>& flags) {
    return std::find(flags.begin(), flags.end(), true) != flags.end();
}

std::int64_t whole_steps(double steps) {
    return static_cast<std::int64_t>(std::ceil(steps - step_tolerance));
}

/// Names given or numbered, each once.
std::vector<Stage> named_stages(const std::vector<StageConfig>& configs) {
    std::vector<Stage> stages(configs.size());
    std::set<std::string_view> names;
    for (std::size_t s = 0; s < configs.size(); ++s) {
        stages[s].name = configs[s].name.empty() ? fmt::format("stage_{}", s + 1) : configs[s].name;
        check_name(stages[s].name, "Stage");
        if (!names.insert(stages[s].name).second) user_error("Two stages are named '{}'.", stages[s].name);
    }
    return stages;
}

void set_bounds(std::vector<Stage>& stages, const std::vector<StageConfig>& configs, const PlanConfig& run) {
    double position = 0.0;
    std::int64_t at = 0;
    for (std::size_t s = 0; s < stages.size(); ++s) {
        Stage& stage = stages[s];
        const bool last = s + 1 == stages.size();
        stage.first_step = at;
        if (configs[s].length) {
            position += length_in_steps(*configs[s].length, run.steps_per_epoch, run.total_steps, stage_text(stage));
            // Doubles count steps exactly up to 2^53; a plan is never near that.
            if (position > 9e15 || whole_steps(position) > run.total_steps) {
                user_error(
                    "{} ends at update {:.0f}, but the run has only {}. Train longer (num_train_epochs, "
                    "max_steps) or shorten the stages.",
                    stage_text(stage), std::ceil(position - step_tolerance), run.total_steps);
            }
            at = whole_steps(position);
        } else if (last) {
            at = run.total_steps;
        } else {
            user_error(
                "{} has no length, and only the last stage may take the rest of the run. Give it one: '1e', "
                "'500u' or '10%'.",
                stage_text(stage));
        }
        stage.end_step = at;
        if (stage.end_step > stage.first_step) continue;
        user_error(
            "{} has no update: it would begin and end at update {} of {}. Train longer, or shorten the stages "
            "before it.",
            stage_text(stage), at, run.total_steps);
    }
    if (at < run.total_steps) {
        user_error(
            "The stages end at update {}, but the run has {}. Leave out the last stage's length, or train for {} "
            "updates.",
            at, run.total_steps, at);
    }
}

std::vector<bool> by_freeze_to(const Stage& stage, int freeze_to, std::size_t groups) {
    const auto count = static_cast<std::int64_t>(groups);
    const std::int64_t frozen = freeze_to >= 0 ? freeze_to : count + freeze_to;
    if (frozen < 0 || frozen >= count) {
        user_error(
            "{}: freeze_to is {}, but there are {} groups. It freezes that many from the input side (0 to {}), "
            "or leaves that many trainable from the head (-1 to -{}).",
            stage_text(stage), freeze_to, groups, groups - 1, groups);
    }
    std::vector<bool> trainable(groups, true);
    std::fill_n(trainable.begin(), frozen, false);
    return trainable;
}

std::vector<bool> by_names(const Stage& stage, const std::vector<std::string>& patterns,
                           const std::vector<Group>& groups) {
    std::vector<std::string> names;
    for (const Group& group : groups) names.push_back(group.name);
    std::vector<bool> trainable(groups.size(), false);
    for (const std::string& text : patterns) {
        const Pattern pattern = [&] {
            try {
                return Pattern(text);
            } catch (const UserError& error) {
                user_error("{}: {}", stage_text(stage), error.what());
            }
        }();
        bool matches = false;
        for (std::size_t g = 0; g < groups.size(); ++g) {
            if (!pattern.matches(names[g])) continue;
            matches = true;
            trainable[g] = true;
            if (groups[g].multiplier == 0.0 && names[g] == text) {
                user_error("{} trains '{}', which multiplier 0 keeps frozen. Give the group a multiplier above 0.",
                           stage_text(stage), text);
            }
        }
        if (!matches) {
            user_error("{}: '{}' is no group of this plan. {}", stage_text(stage), text, pattern.advice(names));
        }
    }
    return trainable;
}

void set_trainable(Stage& stage, const StageConfig& config, const std::vector<Group>& groups) {
    if (config.freeze_to && config.groups) {
        user_error("{} says what trains in two ways, freeze_to and groups; keep one.", stage_text(stage));
    }
    stage.trainable.assign(groups.size(), true);
    if (config.freeze_to) stage.trainable = by_freeze_to(stage, *config.freeze_to, groups.size());
    if (config.groups) stage.trainable = by_names(stage, *config.groups, groups);
    for (std::size_t g = 0; g < groups.size(); ++g) {
        if (groups[g].multiplier == 0.0) stage.trainable[g] = false;
    }
    if (!any_true(stage.trainable)) {
        user_error(
            "{} trains nothing: every group is frozen. Thaw one by freeze_to or groups, or give one a "
            "multiplier above 0.",
            stage_text(stage));
    }
}

void set_rates(Stage& stage, const StageConfig& config, const PlanConfig& run, const std::vector<Group>& groups) {
    if (config.learning_rate && config.slice) {
        user_error("{} says its rate in two ways, learning_rate and slice; keep one.", stage_text(stage));
    }
    if (config.learning_rate && run.policy.kind == PolicyKind::slice) {
        user_error(
            "{} says its rate in two ways, learning_rate and the slice of the policy; give the stage a slice of "
            "its own.",
            stage_text(stage));
    }
    stage.learning_rate = config.learning_rate.value_or(run.learning_rate);
    if (!(stage.learning_rate >= 0.0 && std::isfinite(stage.learning_rate))) {
        user_error("{}: learning_rate is {}; it must be 0 or more.", stage_text(stage), stage.learning_rate);
    }
    for (const Group& group : groups) stage.multipliers.push_back(group.multiplier);
    if (!config.slice) return;
    check_slice(*config.slice, stage_text(stage));
    const std::vector<double> rates = slice_rates(*config.slice, groups.size());
    stage.learning_rate = config.slice->high;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        if (groups[g].multiplier != 0.0) stage.multipliers[g] = rates[g] / stage.learning_rate;
    }
}

void set_schedule(Stage& stage, const ScheduleConfig& config, std::string_view where) {
    stage.schedule = config.options;
    stage.schedule.total_steps = stage.end_step - stage.first_step;
    if (!(config.warmup_ratio >= 0.0 && config.warmup_ratio <= 1.0)) {
        user_error("{}: warmup_ratio is {}; it is a share of the updates, from 0 to 1.", where, config.warmup_ratio);
    }
    if (config.warmup_ratio > 0.0) {
        if (stage.schedule.warmup_steps != 0) {
            user_error("{} says its warm-up in two ways, warmup_steps and warmup_ratio; keep one.", where);
        }
        stage.schedule.warmup_steps =
            static_cast<std::int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(stage.schedule.total_steps)));
    }
    try {
        check_schedule(stage.schedule);
    } catch (const UserError& error) {
        user_error("{}: {}", where, error.what());
    }
}

Stage whole_run(const PlanConfig& config, const std::vector<Group>& groups) {
    Stage stage;
    stage.name = "train";
    stage.end_step = config.total_steps;
    stage.learning_rate = config.learning_rate;
    set_schedule(stage, config.schedule, "The run");
    for (const Group& group : groups) {
        stage.multipliers.push_back(group.multiplier);
        stage.trainable.push_back(group.multiplier != 0.0);
    }
    if (!any_true(stage.trainable)) {
        user_error("Every group is frozen (multiplier 0), so there is nothing to train.");
    }
    return stage;
}

std::vector<StageConfig> stage_configs(const PlanConfig& config, std::size_t groups) {
    const int ways = (config.stages.empty() ? 0 : 1) + (config.gradual ? 1 : 0) + (config.fine_tune ? 1 : 0);
    if (ways > 1) user_error("Stages are given in {} ways: of a list, gradual and fine_tune, keep one.", ways);
    if (config.gradual) return gradual_stages(*config.gradual, groups);
    if (config.fine_tune) return fine_tune_stages(*config.fine_tune, config.learning_rate);
    return config.stages;
}

}  // namespace

std::vector<Stage> make_stages(const PlanConfig& config, const std::vector<Group>& groups) {
    const std::vector<StageConfig> configs = stage_configs(config, groups.size());
    if (configs.empty()) return {whole_run(config, groups)};
    std::vector<Stage> stages = named_stages(configs);
    set_bounds(stages, configs, config);
    for (std::size_t s = 0; s < stages.size(); ++s) {
        set_trainable(stages[s], configs[s], groups);
        set_rates(stages[s], configs[s], config, groups);
        set_schedule(stages[s], configs[s].schedule.value_or(config.schedule), stage_text(stages[s]));
        stages[s].on_unfreeze = configs[s].on_unfreeze;
    }
    return stages;
}

std::optional<std::int64_t> steps_of_stages(const std::vector<StageConfig>& stages, std::int64_t steps_per_epoch) {
    double position = 0.0;
    for (const StageConfig& stage : stages) {
        if (!stage.length || stage.length->unit == Length::Unit::percent) return std::nullopt;
        position += length_in_steps(*stage.length, steps_per_epoch, 0, fmt::format("Stage '{}'", stage.name));
    }
    if (stages.empty()) return std::nullopt;
    return whole_steps(position);
}

std::string_view on_unfreeze_name(OnUnfreeze value) {
    switch (value) {
        case OnUnfreeze::keep:
            return "keep";
        case OnUnfreeze::reset:
            return "reset";
        case OnUnfreeze::reset_all:
            return "reset-all";
    }
    STRATA_CHECK(false, "unknown on_unfreeze {}", static_cast<int>(value));
    return {};
}

OnUnfreeze parse_on_unfreeze(std::string_view name) {
    return static_cast<OnUnfreeze>(index_of_name("on_unfreeze", name, {"keep", "reset", "reset-all"}));
}

}  // namespace strata::optim
