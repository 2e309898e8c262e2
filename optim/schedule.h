// Schedules: pure functions from a step to a factor of the learning rate, never to a rate. The plan alone multiplies.
// T is total_steps, W warmup_steps, s the 0-based index of the update; "warm-up" is s/W for s < W.
//
//   constant         warm-up, then 1 (transformers' get_constant_schedule_with_warmup)
//   linear           warm-up, then straight to 0 at T (transformers' get_linear_schedule_with_warmup)
//   linear_bert      1 - s/T, but s/W during warm-up: at W it jumps from 1 down to 1 - W/T (google-research/bert,
//                    optimization.py)
//   linear_electra   (1 - s/T) min(1, s/W): never reaches 1 (google-research/electra, model/optimization.py)
//   cosine           warm-up, then (1 + cos(2 pi num_cycles (s-W)/(T-W)))/2 (transformers'
//                    get_cosine_schedule_with_warmup)
//   polynomial       warm-up, then end_factor + (1 - end_factor)(1 - (s-W)/(T-W))^power (transformers'
//                    get_polynomial_decay_schedule_with_warmup; its lr_end is end_factor x learning rate)
//   one_cycle        fastai's fit_one_cycle: cosine from 1/div up to 1 at pct_start of the run, then down towards
//                    1/div_final, which the last update, at s/T = 1 - 1/T, does not reach
//   one_cycle_torch  PyTorch's OneCycleLR: from 1/div up to 1, then to 1/(div x div_final), reached at the last update;
//                    cosine, or straight with anneal_linear
//   stlr             ULMFiT's slanted triangle (Howard and Ruder 2018, section 3.2): straight from 1/ratio up to 1 at
//                    cut_frac of the run, and back. As AllenNLP's SlantedTriangular: the paper's formula, but where
//                    cut_frac x T is no whole number, down to 1/ratio and not past it
//   step             gamma^floor(s / step_size), step_size in updates (PyTorch's StepLR)
//
// Both one-cycles move momentum against the rate: momentum_high -> momentum_low -> momentum_high, along the same
// curve. Every error is a UserError.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace strata::optim {

enum class ScheduleKind {
    constant,
    linear,
    linear_bert,
    linear_electra,
    cosine,
    polynomial,
    one_cycle,
    one_cycle_torch,
    stlr,
    step
};

/// In the order of ScheduleKind: the one list of names, for parsers and for option tables.
inline constexpr std::array<std::string_view, 10> schedule_names{
    "constant",   "linear",    "linear_bert",     "linear_electra", "cosine",
    "polynomial", "one_cycle", "one_cycle_torch", "stlr",           "step"};

std::string_view schedule_name(ScheduleKind kind);

/// Dashes or underscores; also takes transformers' "constant_with_warmup" for constant. Throws for another name, with
/// the nearest.
ScheduleKind parse_schedule_kind(std::string_view name);

/// What is left empty has the default of its schedule (schedule_options).
struct Schedule {
    ScheduleKind kind = ScheduleKind::linear;
    std::int64_t warmup_steps = 0;  // has_warmup
    std::int64_t total_steps = 1;
    std::optional<double> num_cycles = std::nullopt;
    std::optional<double> power = std::nullopt;
    std::optional<double> end_factor = std::nullopt;
    std::optional<double> pct_start = std::nullopt;
    std::optional<double> div = std::nullopt;
    std::optional<double> div_final = std::nullopt;
    std::optional<double> anneal_linear = std::nullopt;
    std::optional<double> cycle_momentum = std::nullopt;
    std::optional<double> momentum_high = std::nullopt;
    std::optional<double> momentum_low = std::nullopt;
    std::optional<double> cut_frac = std::nullopt;
    std::optional<double> ratio = std::nullopt;
    std::optional<double> step_size = std::nullopt;
    std::optional<double> gamma = std::nullopt;
};

/// An option of some schedules, under the name that people set it by. Flags are 0 or 1, whole ones whole numbers.
struct ScheduleOption {
    enum class Type { real, whole, flag };
    std::string_view name;
    std::optional<double> Schedule::*value;
    std::string_view help;  // what it is
    Type type;
    double low, high;                                                   // the range that makes sense
    bool low_open, high_open;                                           // whether an end is outside it
    std::array<std::optional<double>, schedule_names.size()> defaults;  // empty: this schedule does not have it
};

std::span<const ScheduleOption> schedule_options();

/// The value in force: the schedule's own or its default. STRATA_CHECK that this kind of schedule has the option.
double option_value(const Schedule& schedule, std::optional<double> Schedule::*option);

/// linear, constant and the like; the others rise by their own figures or not at all.
bool has_warmup(ScheduleKind kind);

/// Sets an option by its name. Throws for a name that no schedule has, with the nearest, and for one that this schedule
/// does not have. Whether the value makes sense is check_schedule's to say.
void set_schedule_option(Schedule& schedule, std::string_view name, double value);

/// Throws for an option that is set though this kind of schedule does not have it, for a value out of its range, and
/// for a warm-up that this schedule does not have, that is negative, or that is longer than total_steps.
void check_schedule(const Schedule& schedule);

/// The factor of the update with 0-based index `step`: the first update of a warm-up has factor 0, as in transformers.
/// From total_steps on, schedules that end stay at their end.
double factor(const Schedule& schedule, std::int64_t step);

/// What the schedule sets momentum (SGD) or beta1 (the others) to at that update; empty when it leaves it alone.
std::optional<double> momentum(const Schedule& schedule, std::int64_t step);

}  // namespace strata::optim
