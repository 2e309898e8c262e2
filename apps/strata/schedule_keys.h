// The schedules' figures (pct_start, gamma, step_size, …) as keys: one for each of optim::schedule_options().
#pragma once

#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/value.h"

namespace strata::app {

template <typename S>
struct ScheduleKey {
    std::string name;
    Slot<S> slot;
    std::string hint;  ///< what the value is
    std::string help;  ///< the schedules that have it, what it is, its defaults
};

/// Of what `figures` holds of an S.
template <typename S>
std::vector<ScheduleKey<S>> schedule_keys(ScheduleFigures S::*figures);

extern template std::vector<ScheduleKey<Config>> schedule_keys(ScheduleFigures Config::*);
extern template std::vector<ScheduleKey<StageTable>> schedule_keys(ScheduleFigures StageTable::*);

}  // namespace strata::app
