// Which of a run's checkpoints is the best: the one whose evaluation was, as transformers' Trainer has it.
//
// Evaluations count whose update is saved too, so that the best metric is always that of the best checkpoint.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/strata/config.h"

namespace strata::app {

struct BestModelRule {
    std::string metric;  ///< as evaluations name it: "eval_accuracy"
    bool greater_is_better = false;

    /// The metric's value in an evaluation, if that is better than `best`. Nothing that is no number is better.
    std::optional<double> better(const nlohmann::json& results, const std::optional<double>& best) const;
};

/// Nothing unless load_best_model_at_end or metric_for_best_model is set.
std::optional<BestModelRule> best_model_rule(const Config& config);

/// UserError where no evaluation would have the rule's metric; `names` are those it would have.
void check_best_metric(const BestModelRule& rule, const std::vector<std::string>& names);

}  // namespace strata::app
