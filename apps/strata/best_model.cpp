#include "apps/strata/best_model.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::app {

std::optional<double> BestModelRule::better(const nlohmann::json& results, const std::optional<double>& best) const {
    const auto found = results.find(metric);
    if (found == results.end() || !found->is_number()) return std::nullopt;
    const double value = found->get<double>();
    if (best && !(greater_is_better ? value > *best : value < *best)) return std::nullopt;
    return value;
}

std::optional<BestModelRule> best_model_rule(const Config& config) {
    if (!config.load_best_model_at_end && config.metric_for_best_model.empty()) return std::nullopt;
    const std::string name = config.metric_for_best_model.empty() ? "loss" : config.metric_for_best_model;
    return BestModelRule{name.starts_with("eval_") ? name : "eval_" + name,
                         config.greater_is_better.value_or(!name.ends_with("loss"))};
}

void check_best_metric(const BestModelRule& rule, const std::vector<std::string>& names) {
    if (names.empty()) {
        user_error("load_best_model_at_end and metric_for_best_model need evaluations: name a validation_file");
    }
    if (std::count(names.begin(), names.end(), rule.metric) > 0) return;
    user_error("metric_for_best_model: evaluations have no {}; they have {}.{}", rule.metric, fmt::join(names, ", "),
               did_you_mean(rule.metric, names));
}

}  // namespace strata::app
