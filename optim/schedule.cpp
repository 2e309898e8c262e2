#include "optim/schedule.h"

#include "core/error.h"
#include "core/nearest.h"

#include <algorithm>

namespace strata::optim {

std::string_view schedule_name(ScheduleKind kind) {
    switch (kind) {
        case ScheduleKind::constant:
            return "constant";
        case ScheduleKind::linear:
            return "linear";
    }
    STRATA_CHECK(false, "unknown schedule {}", static_cast<int>(kind));
    return {};
}

ScheduleKind parse_schedule_kind(std::string_view name) {
    if (name == "constant" || name == "constant_with_warmup") return ScheduleKind::constant;
    if (name == "linear") return ScheduleKind::linear;
    user_error("Unknown schedule '{}'.{} The schedules are constant and linear.", name,
               did_you_mean(name, {"constant", "linear"}));
}

double factor(const Schedule& schedule, std::int64_t step) {
    const auto real = [](std::int64_t value) { return static_cast<double>(value); };
    if (step < schedule.warmup_steps) return real(step) / real(std::max<std::int64_t>(1, schedule.warmup_steps));
    if (schedule.kind == ScheduleKind::constant) return 1.0;
    const std::int64_t descent = std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps);
    return std::max(0.0, real(schedule.total_steps - step) / real(descent));
}

}  // namespace strata::optim
