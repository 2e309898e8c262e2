// Schedules: pure functions from a step to a factor of the learning rate, never to a rate. The plan alone multiplies.
//
//   constant  1 after a linear warm-up from 0 (transformers' get_constant_schedule_with_warmup; without warm-up, 1)
//   linear    warm-up from 0 to 1, then straight to 0 at total_steps (transformers' get_linear_schedule_with_warmup)
#pragma once

#include <cstdint>
#include <string_view>

namespace strata::optim {

enum class ScheduleKind { constant, linear };

/// "constant", "linear".
std::string_view schedule_name(ScheduleKind kind);

/// Also takes transformers' "constant_with_warmup" for constant. Throws UserError for another name, with the nearest.
ScheduleKind parse_schedule_kind(std::string_view name);

struct Schedule {
    ScheduleKind kind = ScheduleKind::linear;
    std::int64_t warmup_steps = 0;
    std::int64_t total_steps = 1;
};

/// The factor of the update with 0-based index `step`: the first update of a warm-up has factor 0, as in transformers.
double factor(const Schedule& schedule, std::int64_t step);

}  // namespace strata::optim
