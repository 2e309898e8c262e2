// Range tests written out: for people, for programs, as a drawing.
#pragma once

#include "optim/range_test.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace strata::optim {

/// What was tested: `plan` is the real one, `stage` one of its stages.
struct RangeTestReport {
    const Plan& plan;
    const Stage& stage;
    RangeTestConfig config;
    std::vector<RangeTest> tests;  // one of all groups together, or one for each group
};

/// What `strata lr-find` prints. Of all groups together, or of one: about twenty updates, the suggestions, and the rate
/// that each gives every group. Of each group: a line for each. Ends with a newline.
std::string range_test_table(const RangeTestReport& report);

/// {stage, start_lr, end_lr, num_it, stop_div, policy, hash, world_size, tests: [{group: name or null, end: "end_lr",
/// "diverged" or "not_a_number", learning_rate: [..], loss: [..], smoothed: [..], judged: [first, one past the last],
/// suggestions: {valley, steep, minimum: {learning_rate, at: {learning_rate, smoothed}, groups: {name: rate}}} or
/// null}]}. Doubles read back exactly.
nlohmann::json range_test_json(const RangeTestReport& report);

/// Losses over rates as a whole SVG file: of one test, smoothed and as they were, with the suggestions; of several, a
/// smoothed line each, from the input (cool) to the head (warm), and its valley. No script and nothing from outside.
std::string range_test_svg(const RangeTestReport& report);

/// The three suggestions with their names, in the order they are written.
struct NamedSuggestion {
    const char* name;  // "valley", "steep", "minimum"
    const char* title;
    RateSuggestion suggestion;
};
std::vector<NamedSuggestion> named_suggestions(const RangeSuggestions& suggestions);

}  // namespace strata::optim
