#include "optim/range_test.h"

#include "core/error.h"
#include "core/nearest.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace strata::optim {

namespace {

constexpr double smoothing = 0.98;
constexpr double divergence = 4.0;
constexpr std::int64_t last_left_out = 5;
constexpr std::size_t fewest_judged = 3;

std::size_t group_named(const Plan& plan, const Stage& stage, const std::string& name) {
    std::vector<std::string> names, training;
    for (const Group& group : plan.groups) names.push_back(group.name);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
        user_error("group '{}' is not in the plan.{} The nearest of its {}: {}.", name, did_you_mean(name, names),
                   names.size(), fmt::join(nearest_names(name, names), ", "));
    }
    const auto index = static_cast<std::size_t>(found - names.begin());
    if (!stage.trainable[index]) {
        for (std::size_t g = 0; g < names.size(); ++g) {
            if (stage.trainable[g]) training.push_back(names[g]);
        }
        user_error("group '{}' is frozen in stage '{}', which trains {}. Name one of them, or another stage.", name,
                   stage.name, fmt::join(nearest_names(name, training), ", "));
    }
    return index;
}

RateSuggestion at(const RangeCurve& curve, std::size_t index, double share = 1.0) {
    return {curve.rates()[index] * share, curve.rates()[index], curve.smoothed()[index]};
}

/// fastai's valley, its indices counted from the first judged loss. Where the subsequence begins with that loss,
/// its start is one too low (-1), which this keeps.
std::size_t valley(const std::vector<double>& losses) {
    std::vector<std::int64_t> longest(losses.size(), 1);
    std::size_t end = 0;
    std::int64_t start = 0;
    for (std::size_t i = 1; i < losses.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (losses[i] < losses[j] && longest[i] < longest[j] + 1) longest[i] = longest[j] + 1;
            if (longest[end] >= longest[i]) continue;
            end = i;
            start = static_cast<std::int64_t>(end) - longest[end];
        }
    }
    const double section = static_cast<double>(static_cast<std::int64_t>(end) - start) / 3.0;
    const auto index = start + static_cast<std::int64_t>(section) + static_cast<std::int64_t>(section / 2.0);
    return static_cast<std::size_t>(std::max<std::int64_t>(0, index));
}

/// The falling slope d loss / d log(rate) of neighbours; the earlier of the two.
std::size_t steepest(const std::vector<double>& losses, const std::vector<double>& rates) {
    std::size_t best = 0;
    double least = 0.0;
    for (std::size_t i = 0; i + 1 < losses.size(); ++i) {
        const double slope = (losses[i + 1] - losses[i]) / (std::log(rates[i + 1]) - std::log(rates[i]));
        if (i > 0 && slope >= least) continue;
        best = i;
        least = slope;
    }
    return best;
}

}  // namespace

const Stage& tested_stage(const Plan& plan, const std::string& name) {
    if (name.empty()) return plan.stages.front();
    std::vector<std::string> names;
    for (const Stage& stage : plan.stages) {
        if (stage.name == name) return stage;
        names.push_back(stage.name);
    }
    user_error("stage '{}' is not in the plan.{} Its stages: {}.", name, did_you_mean(name, names),
               fmt::join(names, ", "));
}

void check_range_test(const RangeTestConfig& config) {
    if (!(config.start_lr > 0.0 && std::isfinite(config.start_lr))) {
        user_error("start_lr is {}; it must be above 0", config.start_lr);
    }
    if (!(config.end_lr > config.start_lr && std::isfinite(config.end_lr))) {
        user_error("end_lr is {}, start_lr {}; the test needs rates that grow: end_lr must be above start_lr",
                   config.end_lr, config.start_lr);
    }
    if (config.num_it < fewest_range_updates) {
        user_error("num_it is {}; the test needs at least {} updates (100 are usual)", config.num_it,
                   fewest_range_updates);
    }
}

Plan range_test_plan(const Plan& plan, const RangeTestConfig& config, const std::string& stage,
                     const std::string& group) {
    check_range_test(config);
    Stage test = tested_stage(plan, stage);
    if (group.empty()) {
        // A slice's multipliers are rates over some learning rate; over its high end, they leave that to the test.
        const double last = test.multipliers.back();
        if (plan.policy == PolicyKind::slice && last > 0.0) {
            for (double& multiplier : test.multipliers) multiplier /= last;
        }
    } else {
        const std::size_t index = group_named(plan, test, group);
        test.trainable.assign(plan.groups.size(), false);
        test.trainable[index] = true;
        test.multipliers[index] = 1.0;
    }
    test.first_step = 0;
    test.end_step = config.num_it;
    test.learning_rate = config.start_lr;
    // PyTorch's StepLR with a step of one update is an exponential; here it rises.
    test.schedule = {};
    test.schedule.kind = ScheduleKind::step;
    test.schedule.total_steps = config.num_it;
    test.schedule.step_size = 1.0;
    test.schedule.gamma = std::pow(config.end_lr / config.start_lr, 1.0 / static_cast<double>(config.num_it));
    Plan out = plan;
    out.stages = {test};
    out.total_steps = config.num_it;
    return out;
}

double RangeCurve::next_rate() const {
    return config_.start_lr * std::pow(config_.end_lr / config_.start_lr,
                                       static_cast<double>(updates_) / static_cast<double>(config_.num_it));
}

bool RangeCurve::add(double loss, bool finite) {
    if (std::isnan(loss) || !finite) {
        end_ = RangeTestEnd::not_a_number;
        return false;
    }
    const double rate = next_rate();
    ++updates_;
    if (std::isinf(loss)) {
        end_ = RangeTestEnd::diverged;
        return false;
    }
    average_ = smoothing * average_ + (1.0 - smoothing) * loss;
    const double smoothed = average_ / (1.0 - std::pow(smoothing, static_cast<double>(updates_)));
    rates_.push_back(rate);
    losses_.push_back(loss);
    smoothed_.push_back(smoothed);
    least_ = updates_ == 1 ? smoothed : std::min(least_, smoothed);
    if (config_.stop_div && smoothed > divergence * least_) {
        end_ = RangeTestEnd::diverged;
        return false;
    }
    return updates_ < config_.num_it;
}

std::size_t RangeCurve::first_judged() const {
    return std::min(last_judged(), static_cast<std::size_t>(config_.num_it / 10));
}

std::size_t RangeCurve::last_judged() const {
    // fastai goes on after a loss that is no number, so there the last five are those of the whole test.
    const std::int64_t made = end_ == RangeTestEnd::not_a_number ? config_.num_it : updates_;
    return static_cast<std::size_t>(
        std::clamp<std::int64_t>(made - last_left_out, 0, static_cast<std::int64_t>(rates_.size())));
}

std::optional<RangeSuggestions> range_suggestions(const RangeCurve& curve) {
    const std::size_t first = curve.first_judged(), last = curve.last_judged();
    if (last < first + fewest_judged) return std::nullopt;
    const auto judged = [&](const std::vector<double>& values) {
        return std::vector<double>(values.begin() + static_cast<std::ptrdiff_t>(first),
                                   values.begin() + static_cast<std::ptrdiff_t>(last));
    };
    const std::vector<double> losses = judged(curve.smoothed());
    const auto least = static_cast<std::size_t>(std::min_element(losses.begin(), losses.end()) - losses.begin());
    return RangeSuggestions{at(curve, first + valley(losses)),
                            at(curve, first + steepest(losses, judged(curve.rates()))), at(curve, first + least, 0.1)};
}

}  // namespace strata::optim
