// Stages: stretches of a run, one after another without gaps, each with its own trainable groups, rate and schedule.
// No stage at all is one, "train", in which everything learns to the end.
#pragma once

#include "optim/length.h"
#include "optim/rate_slice.h"
#include "optim/schedule.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

/// What becomes of optimizer state (moments and step count) where a stage begins that trains other groups.
enum class OnUnfreeze {
    keep,      // a group that trained before goes on with the state it had, which stays allocated while it is frozen
    reset,     // a group that thaws starts anew; its state is freed when it freezes
    reset_all  // so does every group that trains, as fastai's freeze_to (Optimizer.clear_state)
};

/// "keep", "reset", "reset-all".
std::string_view on_unfreeze_name(OnUnfreeze value);

/// Dashes or underscores. Throws UserError for another name.
OnUnfreeze parse_on_unfreeze(std::string_view name);

/// A schedule before the length of its stage is known. `options` is the schedule with its kind and figures; its
/// total_steps is set to the stage's, and its warmup_steps too when warmup_ratio is given.
struct ScheduleConfig {
    Schedule options = {};
    double warmup_ratio = 0.0;  // of the stage's updates, rounded up; not together with warmup_steps
};

struct StageConfig {
    std::string name = {};                        // empty: stage_1, stage_2, ...
    std::optional<Length> length = std::nullopt;  // none: the rest of the run, for the last stage only
    std::optional<int> freeze_to = std::nullopt;  // k >= 0 freezes the first k groups, k < 0 all but the last |k|
    std::optional<std::vector<std::string>> groups = std::nullopt;  // or: names and patterns of those that train
    std::optional<double> learning_rate = std::nullopt;             // none: the run's
    std::optional<RateSlice> slice = std::nullopt;                  // or: rates over all groups, frozen ones included
    std::optional<ScheduleConfig> schedule = std::nullopt;          // none: the run's, warm-up included
    OnUnfreeze on_unfreeze = OnUnfreeze::keep;
};

/// ULMFiT's gradual unfreezing (Howard and Ruder 2018, section 3.3): the last group alone for a while, then one more
/// from the head down, then all of them to the end of the run.
struct GradualConfig {
    Length each = {1.0, Length::Unit::epochs};
    OnUnfreeze on_unfreeze = OnUnfreeze::keep;
};

/// fastai's Learner.fine_tune (fastai/callback/schedule.py): the last group alone at the run's learning rate r for
/// freeze_epochs; then all groups, anew, from r/2/lr_mult to r/2 to the end of the run. Both stages are one_cycle: the
/// frozen one peaks at 99 % of its updates, the other at pct_start of its, from 1/div of its peak.
struct FineTuneConfig {
    double freeze_epochs = 1.0;
    double lr_mult = 100.0;
    double pct_start = 0.3;
    double div = 5.0;
};

/// One stage as the plan has it.
struct Stage {
    std::string name;
    std::int64_t first_step = 0;
    std::int64_t end_step = 0;  // one past its last step
    double learning_rate = 0.0;
    Schedule schedule;                     // in steps since first_step
    std::vector<bool> trainable = {};      // one for each group
    std::vector<double> multipliers = {};  // one for each group: its own, or what makes the stage's slice
    OnUnfreeze on_unfreeze = OnUnfreeze::keep;
};

/// The stages written out for a plan of `groups` groups. Throw UserError for figures that make no sense.
std::vector<StageConfig> gradual_stages(const GradualConfig& config, std::size_t groups);
std::vector<StageConfig> fine_tune_stages(const FineTuneConfig& config, double learning_rate);

/// The updates that stages with lengths of their own make together; nothing when one takes the rest of the run or a
/// share of it. What a run's length can be taken from.
std::optional<std::int64_t> steps_of_stages(const std::vector<StageConfig>& stages, std::int64_t steps_per_epoch);

}  // namespace strata::optim
