#include "optim/schedule.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strata::optim {

namespace {

double real(std::int64_t value) {
    return static_cast<double>(value);
}

/// From `start` to `end` along half a cosine, as `position` goes from 0 to 1.
double cosine_between(double start, double end, double position) {
    return end + (start - end) / 2.0 * (1.0 + std::cos(std::numbers::pi * position));
}

double line_between(double start, double end, double position) {
    return start + (end - start) * position;
}

/// Where a run stands in a cycle: on its way up to the peak or down from it, and how far.
struct CyclePlace {
    bool rising;
    double position;
};

CyclePlace place_in_cycle(const Schedule& schedule, std::int64_t step) {
    const double start = option_value(schedule, &Schedule::pct_start);
    if (schedule.kind == ScheduleKind::one_cycle) {
        const double done = std::min(1.0, real(step) / real(schedule.total_steps));
        if (done < start) return {true, done / start};
        return {false, start < 1.0 ? (done - start) / (1.0 - start) : 1.0};
    }
    const double peak = start * real(schedule.total_steps) - 1.0;
    const double last = real(schedule.total_steps - 1);
    const double now = std::min(real(step), last);
    // PyTorch divides by zero where the first update is the peak.
    if (now <= peak) return {true, peak == 0.0 ? 1.0 : now / peak};
    return {false, (now - peak) / (last - peak)};
}

double cycle_between(const Schedule& schedule, std::int64_t step, double low, double high, double end) {
    const CyclePlace place = place_in_cycle(schedule, step);
    const double from = place.rising ? low : high;
    const double to = place.rising ? high : end;
    const bool straight =
        schedule.kind == ScheduleKind::one_cycle_torch && option_value(schedule, &Schedule::anneal_linear) != 0.0;
    return straight ? line_between(from, to, place.position) : cosine_between(from, to, place.position);
}

double one_cycle_factor(const Schedule& schedule, std::int64_t step) {
    const double start = 1.0 / option_value(schedule, &Schedule::div);
    // fastai's is a part of the peak, PyTorch's of the start.
    const double of = schedule.kind == ScheduleKind::one_cycle ? 1.0 : start;
    return cycle_between(schedule, step, start, 1.0, of / option_value(schedule, &Schedule::div_final));
}

double slanted_triangle(const Schedule& schedule, std::int64_t step) {
    const double total = real(schedule.total_steps);
    const double now = std::min(real(step), total);
    const double cut = std::floor(total * option_value(schedule, &Schedule::cut_frac));
    const double ratio = option_value(schedule, &Schedule::ratio);
    const double height = now < cut ? now / cut : 1.0 - (cut < total ? (now - cut) / (total - cut) : 0.0);
    return (1.0 + height * (ratio - 1.0)) / ratio;
}

/// How far the run is from the end of its warm-up to its end, in [0, 1].
double share_after_warmup(const Schedule& schedule, std::int64_t step) {
    const std::int64_t descent = std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps);
    return std::min(1.0, real(step - schedule.warmup_steps) / real(descent));
}

/// transformers computes the rest of the way itself, not what is behind; the last bit differs.
double share_left(const Schedule& schedule, std::int64_t step) {
    const std::int64_t descent = std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps);
    return std::max(0.0, real(schedule.total_steps - step) / real(descent));
}

double left_of_run(const Schedule& schedule, std::int64_t step) {
    return 1.0 - std::min(1.0, real(step) / real(schedule.total_steps));
}

double polynomial(const Schedule& schedule, std::int64_t step) {
    const double end = option_value(schedule, &Schedule::end_factor);
    const double left = 1.0 - share_after_warmup(schedule, step);
    return end + (1.0 - end) * std::pow(left, option_value(schedule, &Schedule::power));
}

double cosine(const Schedule& schedule, std::int64_t step) {
    const double waves = option_value(schedule, &Schedule::num_cycles);
    const double angle = 2.0 * std::numbers::pi * waves * share_after_warmup(schedule, step);
    return std::max(0.0, 0.5 * (1.0 + std::cos(angle)));
}

}  // namespace

double factor(const Schedule& schedule, std::int64_t step) {
    // Kinds without a warm-up have warmup_steps 0 (check_schedule).
    if (step < schedule.warmup_steps) {
        const double risen = real(step) / real(schedule.warmup_steps);
        return schedule.kind == ScheduleKind::linear_electra ? risen * left_of_run(schedule, step) : risen;
    }
    switch (schedule.kind) {
        case ScheduleKind::constant:
            return 1.0;
        case ScheduleKind::linear:
            return share_left(schedule, step);
        case ScheduleKind::linear_bert:
        case ScheduleKind::linear_electra:
            return left_of_run(schedule, step);
        case ScheduleKind::cosine:
            return cosine(schedule, step);
        case ScheduleKind::polynomial:
            return polynomial(schedule, step);
        case ScheduleKind::one_cycle:
        case ScheduleKind::one_cycle_torch:
            return one_cycle_factor(schedule, step);
        case ScheduleKind::stlr:
            return slanted_triangle(schedule, step);
        case ScheduleKind::step:
            return std::pow(option_value(schedule, &Schedule::gamma),
                            std::floor(real(step) / option_value(schedule, &Schedule::step_size)));
    }
    STRATA_CHECK(false, "unknown schedule {}", static_cast<int>(schedule.kind));
    return 0.0;
}

std::optional<double> momentum(const Schedule& schedule, std::int64_t step) {
    const bool cycles = schedule.kind == ScheduleKind::one_cycle || schedule.kind == ScheduleKind::one_cycle_torch;
    if (!cycles || option_value(schedule, &Schedule::cycle_momentum) == 0.0) return std::nullopt;
    const double high = option_value(schedule, &Schedule::momentum_high);
    return cycle_between(schedule, step, high, option_value(schedule, &Schedule::momentum_low), high);
}

}  // namespace strata::optim
