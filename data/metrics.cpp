#include "data/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "data/task.h"

namespace strata::data {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

void check_sizes(Values predictions, Values references) {
    STRATA_CHECK(predictions.size() == references.size(), "{} predictions for {} references", predictions.size(),
                 references.size());
}

double mean(Values values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool is_constant(Values values) {
    return std::all_of(values.begin(), values.end(), [&](double value) { return value == values.front(); });
}

bool all_finite(Values values) {
    return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

/// Ranks from 1; equal values share the mean of their ranks (scipy.stats.rankdata, method "average").
std::vector<double> average_ranks(Values values) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
    std::vector<double> ranks(values.size());
    for (std::size_t begin = 0; begin < order.size();) {
        std::size_t end = begin + 1;
        while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
        const double rank = 0.5 * static_cast<double>(begin + 1 + end);
        for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
        begin = end;
    }
    return ranks;
}

}  // namespace

double accuracy(Values predictions, Values references) {
    check_sizes(predictions, references);
    if (predictions.empty()) return undefined;
    double matches = 0;
    for (std::size_t i = 0; i < predictions.size(); ++i) matches += predictions[i] == references[i] ? 1 : 0;
    return matches / static_cast<double>(predictions.size());
}

double f1(Values predictions, Values references) {
    check_sizes(predictions, references);
    if (predictions.empty()) return undefined;
    double both = 0;
    double either = 0;  // positive predictions plus positive references
    for (std::size_t i = 0; i < predictions.size(); ++i) {
        const bool predicted = predictions[i] == 1;
        const bool wanted = references[i] == 1;
        both += predicted && wanted ? 1 : 0;
        either += (predicted ? 1 : 0) + (wanted ? 1 : 0);
    }
    return either == 0 ? 0 : 2 * both / either;
}

double matthews_correlation(Values predictions, Values references) {
    check_sizes(predictions, references);
    if (predictions.empty()) return undefined;
    std::map<double, std::pair<double, double>> counts;  // of each class: predicted, wanted
    double matches = 0;
    for (std::size_t i = 0; i < predictions.size(); ++i) {
        counts[predictions[i]].first += 1;
        counts[references[i]].second += 1;
        matches += predictions[i] == references[i] ? 1 : 0;
    }
    const auto n = static_cast<double>(predictions.size());
    double both = matches * n;
    double predicted = n * n;
    double wanted = n * n;
    for (const auto& [label, count] : counts) {
        both -= count.first * count.second;
        predicted -= count.first * count.first;
        wanted -= count.second * count.second;
    }
    return predicted == 0 || wanted == 0 ? 0 : both / (std::sqrt(predicted) * std::sqrt(wanted));
}

double mean_squared_error(Values predictions, Values references) {
    check_sizes(predictions, references);
    if (predictions.empty()) return undefined;
    double sum = 0;
    for (std::size_t i = 0; i < predictions.size(); ++i) sum += std::pow(predictions[i] - references[i], 2);
    return sum / static_cast<double>(predictions.size());
}

double pearson(Values predictions, Values references) {
    check_sizes(predictions, references);
    if (predictions.size() < 2 || is_constant(predictions) || is_constant(references)) return undefined;
    if (!all_finite(predictions) || !all_finite(references)) return undefined;
    const double mean_p = mean(predictions);
    const double mean_r = mean(references);
    double pp = 0;
    double rr = 0;
    double pr = 0;
    for (std::size_t i = 0; i < predictions.size(); ++i) {
        const double p = predictions[i] - mean_p;
        const double r = references[i] - mean_r;
        pp += p * p;
        rr += r * r;
        pr += p * r;
    }
    return std::clamp(pr / (std::sqrt(pp) * std::sqrt(rr)), -1.0, 1.0);
}

double spearmanr(Values predictions, Values references) {
    check_sizes(predictions, references);
    // Values that are not finite have no rank, and would break the ordering that sorting needs.
    if (!all_finite(predictions) || !all_finite(references)) return undefined;
    return pearson(average_ranks(predictions), average_ranks(references));
}

std::map<std::string, double> compute_metrics(std::string_view task_name, const LabelSet& labels, Values predictions,
                                              Values references) {
    std::vector<std::string> names;
    if (!task_name.empty()) {
        names = task_named(task_name).metrics;
    } else if (labels.regression) {
        names = {"mse", "pearson", "spearmanr"};
    } else if (labels.names.size() == 2) {
        names = {"accuracy", "f1", "matthews_correlation"};
    } else {
        names = {"accuracy"};
    }
    using Metric = double (*)(Values, Values);
    static const std::map<std::string, Metric> known = {{"accuracy", accuracy},
                                                        {"f1", f1},
                                                        {"matthews_correlation", matthews_correlation},
                                                        {"pearson", pearson},
                                                        {"spearmanr", spearmanr},
                                                        {"mse", mean_squared_error}};
    std::map<std::string, double> metrics;
    double sum = 0;
    for (const auto& name : names) {
        const auto metric = known.find(name);
        STRATA_CHECK(metric != known.end(), "no metric {}", name);
        sum += metrics[name] = metric->second(predictions, references);
    }
    if (!task_name.empty() && names.size() > 1) metrics["combined_score"] = sum / static_cast<double>(names.size());
    return metrics;
}

}  // namespace strata::data
