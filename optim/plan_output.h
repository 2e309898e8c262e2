// A plan written out: for people, for spreadsheets, for programs.
#pragma once

#include "optim/plan.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace strata::optim {

/// What `strata plan` prints: one line a group (parameters, elements, multiplier, rates at start, peak and end), totals
/// and memory per rank. Ends with a newline.
std::string plan_table(const Plan& plan);

/// Header `step,stage,group,trainable,lr`, then one row for each step and group, step by step. trainable is 1 or 0;
/// lr reads back to the same double.
std::string plan_csv(const Plan& plan);

/// {policy, optimizer, stages, groups: [{name, parameters: [names], elements, multiplier, trainable,
/// learning_rate: {start, peak, end}, weight_decay, segments: [{name, shape, offset, elements, decays, reason}]}],
/// elements, trainable_elements, parameters, total_steps, world_size, zero_stage, memory: [bytes per rank], hash}.
/// `trainable` is at the first step. Doubles read back exactly.
nlohmann::json plan_json(const Plan& plan);

/// Where one parameter is, at which rates it learns, and which rule decided whether it decays. Throws UserError for a
/// name that is not in the plan, with the five nearest.
std::string explain(const Plan& plan, std::string_view name);

struct RateRange {
    double start = 0.0;  // at the first step
    double peak = 0.0;   // the largest
    double end = 0.0;    // at the last step
};

/// A group's rates over the whole run.
RateRange rate_range(const Plan& plan, std::size_t group);

}  // namespace strata::optim
