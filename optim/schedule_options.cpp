// The schedules' names and the table of their options: which schedule has which, its default and its range.
#include "core/error.h"
#include "core/nearest.h"
#include "optim/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace strata::optim {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

using Defaults = std::array<std::optional<double>, schedule_names.size()>;

/// Schedules not named here do not have the option.
constexpr Defaults only(std::initializer_list<std::pair<ScheduleKind, double>> given) {
    Defaults defaults{};
    for (const auto& [kind, value] : given) defaults[static_cast<std::size_t>(kind)] = value;
    return defaults;
}

constexpr Defaults both_cycles(double value) {
    return only({{ScheduleKind::one_cycle, value}, {ScheduleKind::one_cycle_torch, value}});
}

using Type = ScheduleOption::Type;

/// step_size has no default that could be right: 0 is out of its range, so it must be set.
constexpr ScheduleOption table[] = {
    {"num_cycles", &Schedule::num_cycles, "cosine waves over the run, after the warm-up; 0.5 is one fall", Type::real,
     0.0, infinity, false, true, only({{ScheduleKind::cosine, 0.5}})},
    {"power", &Schedule::power, "of what is left of the run", Type::real, 0.0, infinity, true, true,
     only({{ScheduleKind::polynomial, 1.0}})},
    {"end_factor", &Schedule::end_factor, "where it ends, over learning_rate", Type::real, 0.0, 1.0, false, false,
     only({{ScheduleKind::polynomial, 0.0}})},
    {"pct_start", &Schedule::pct_start, "share of the run at which the rate peaks", Type::real, 0.0, 1.0, false, false,
     only({{ScheduleKind::one_cycle, 0.25}, {ScheduleKind::one_cycle_torch, 0.3}})},
    {"div", &Schedule::div, "the peak over the first rate", Type::real, 1.0, infinity, false, true, both_cycles(25.0)},
    {"div_final", &Schedule::div_final, "the peak (one_cycle) or the first rate (one_cycle_torch) over the last rate",
     Type::real, 1.0, infinity, false, true,
     only({{ScheduleKind::one_cycle, 1e5}, {ScheduleKind::one_cycle_torch, 1e4}})},
    {"anneal_linear", &Schedule::anneal_linear, "straight lines in place of cosines", Type::flag, 0.0, 1.0, false,
     false, only({{ScheduleKind::one_cycle_torch, 0.0}})},
    {"cycle_momentum", &Schedule::cycle_momentum, "move momentum (beta1 of all but sgd) against the rate", Type::flag,
     0.0, 1.0, false, false, both_cycles(1.0)},
    {"momentum_high", &Schedule::momentum_high, "momentum where the rate is least", Type::real, 0.0, 1.0, false, true,
     both_cycles(0.95)},
    {"momentum_low", &Schedule::momentum_low, "momentum where the rate peaks", Type::real, 0.0, 1.0, false, true,
     both_cycles(0.85)},
    {"cut_frac", &Schedule::cut_frac, "share of the run at which the rate peaks", Type::real, 0.0, 1.0, false, false,
     only({{ScheduleKind::stlr, 0.1}})},
    {"ratio", &Schedule::ratio, "the peak over the least rate", Type::real, 1.0, infinity, false, true,
     only({{ScheduleKind::stlr, 32.0}})},
    {"step_size", &Schedule::step_size, "updates between two falls", Type::whole, 1.0, infinity, false, true,
     only({{ScheduleKind::step, 0.0}})},
    {"gamma", &Schedule::gamma, "what each fall multiplies the rate by", Type::real, 0.0, 1.0, true, false,
     only({{ScheduleKind::step, 0.1}})},
};

bool has(const ScheduleOption& option, ScheduleKind kind) {
    return option.defaults[static_cast<std::size_t>(kind)].has_value();
}

[[noreturn]] void refuse_option(std::string_view name, ScheduleKind kind) {
    std::vector<std::string_view> own;
    if (has_warmup(kind)) own.emplace_back("warmup_steps");
    for (const ScheduleOption& option : table) {
        if (has(option, kind)) own.push_back(option.name);
    }
    user_error("{} is not an option of schedule '{}', which has {}.", name, schedule_name(kind), fmt::join(own, ", "));
}

/// "from 0 to 1 (not 1 itself)", "above 0".
std::string range_text(const ScheduleOption& option) {
    if (option.type == Type::flag) return "true or false";
    const std::string number = option.type == Type::whole ? "a whole number, " : "";
    if (option.high == infinity) {
        return option.low_open ? fmt::format("{}above {}", number, option.low)
                               : fmt::format("{}{} or more", number, option.low);
    }
    const std::string ends = option.low_open    ? fmt::format(" (not {} itself)", option.low)
                             : option.high_open ? fmt::format(" (not {} itself)", option.high)
                                                : "";
    return fmt::format("{}from {} to {}{}", number, option.low, option.high, ends);
}

bool in_range(const ScheduleOption& option, double value) {
    if (option.type != Type::real && value != std::floor(value)) return false;
    return (option.low_open ? value > option.low : value >= option.low) &&
           (option.high_open ? value < option.high : value <= option.high);
}

}  // namespace

std::string_view schedule_name(ScheduleKind kind) {
    const auto index = static_cast<std::size_t>(kind);
    STRATA_CHECK(index < schedule_names.size(), "unknown schedule {}", index);
    return schedule_names[index];
}

ScheduleKind parse_schedule_kind(std::string_view name) {
    if (name == "constant_with_warmup") return ScheduleKind::constant;
    return static_cast<ScheduleKind>(index_of_name("schedule", name, {schedule_names.begin(), schedule_names.end()}));
}

std::span<const ScheduleOption> schedule_options() {
    return table;
}

double option_value(const Schedule& schedule, std::optional<double> Schedule::*option) {
    if ((schedule.*option).has_value()) return *(schedule.*option);
    const auto* const known = std::find_if(std::begin(table), std::end(table),
                                           [option](const ScheduleOption& row) { return row.value == option; });
    STRATA_CHECK(known != std::end(table) && has(*known, schedule.kind), "schedule '{}' has no such option",
                 schedule_name(schedule.kind));
    return *known->defaults[static_cast<std::size_t>(schedule.kind)];
}

bool has_warmup(ScheduleKind kind) {
    switch (kind) {
        case ScheduleKind::constant:
        case ScheduleKind::linear:
        case ScheduleKind::linear_bert:
        case ScheduleKind::linear_electra:
        case ScheduleKind::cosine:
        case ScheduleKind::polynomial:
            return true;
        case ScheduleKind::one_cycle:
        case ScheduleKind::one_cycle_torch:
        case ScheduleKind::stlr:
        case ScheduleKind::step:
            break;
    }
    return false;
}

void set_schedule_option(Schedule& schedule, std::string_view name, double value) {
    std::vector<std::string> names;
    for (const ScheduleOption& option : table) {
        names.emplace_back(option.name);
        if (option.name != name) continue;
        if (!has(option, schedule.kind)) refuse_option(name, schedule.kind);
        schedule.*option.value = value;
        return;
    }
    user_error("No schedule has an option '{}'.{}", name, did_you_mean(name, names));
}

void check_schedule(const Schedule& schedule) {
    STRATA_CHECK(schedule.total_steps >= 1, "a schedule of {} steps", schedule.total_steps);
    for (const ScheduleOption& option : table) {
        const bool set = (schedule.*option.value).has_value();
        if (set && !has(option, schedule.kind)) refuse_option(option.name, schedule.kind);
        if (!has(option, schedule.kind)) continue;
        const double value = option_value(schedule, option.value);
        if (in_range(option, value)) continue;
        user_error("{} of schedule '{}' is {}; it must be {}.", option.name, schedule_name(schedule.kind),
                   set ? fmt::format("{}", value) : "not set", range_text(option));
    }
    if (schedule.warmup_steps < 0) user_error("warmup_steps is {}; it must be 0 or more.", schedule.warmup_steps);
    if (schedule.warmup_steps > 0 && !has_warmup(schedule.kind)) refuse_option("warmup_steps", schedule.kind);
    if (schedule.warmup_steps > schedule.total_steps) {
        user_error("the warm-up of {} steps is longer than its {}. Lower warmup_steps or train longer.",
                   schedule.warmup_steps, schedule.total_steps);
    }
}

}  // namespace strata::optim
