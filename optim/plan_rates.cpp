// Rates at the start, peak and end of stages and of the run.
#include "optim/plan_output.h"

#include <algorithm>

namespace strata::optim {

std::vector<std::vector<RateRange>> rate_ranges(const Plan& plan) {
    std::vector<std::vector<RateRange>> ranges;
    for (const Stage& stage : plan.stages) {
        // Factors know no group: one pass over the steps serves all.
        const std::int64_t steps = stage.end_step - stage.first_step;
        double peak = 0.0;
        for (std::int64_t step = 0; step < steps; ++step) peak = std::max(peak, factor(stage.schedule, step));
        std::vector<RateRange>& row = ranges.emplace_back(plan.groups.size());
        for (std::size_t g = 0; g < plan.groups.size(); ++g) {
            if (!stage.trainable.at(g)) continue;
            row[g] = {plan.learning_rate(g, stage.first_step), stage.learning_rate * stage.multipliers.at(g) * peak,
                      plan.learning_rate(g, stage.end_step - 1)};
        }
    }
    return ranges;
}

RateRange whole_run(const std::vector<std::vector<RateRange>>& ranges, std::size_t group) {
    RateRange whole{ranges.front().at(group).start, 0.0, ranges.back().at(group).end};
    for (const auto& stage : ranges) whole.peak = std::max(whole.peak, stage.at(group).peak);
    return whole;
}

RateRange rate_range(const Plan& plan, std::size_t group) {
    return whole_run(rate_ranges(plan), group);
}

}  // namespace strata::optim
