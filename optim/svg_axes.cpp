#include "optim/svg_axes.h"

#include <algorithm>
#include <cmath>

namespace strata::optim::svg {

namespace {

Scale scale_of_rates(const Plan& plan, const std::vector<std::vector<RateRange>>& ranges) {
    double slowest = 0.0;
    double fastest = 0.0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const double peak = whole_run(ranges, g).peak;
        fastest = std::max(fastest, peak);
        if (peak > 0.0) slowest = slowest > 0.0 ? std::min(slowest, peak) : peak;
    }
    if (slowest > 0.0 && fastest / slowest > linear_span) {
        return Scale::logarithmic(std::pow(10.0, std::floor(std::log10(slowest)) - 1.0),
                                  fastest * std::pow(10.0, 0.05));
    }
    return Scale::linear(0.0, fastest > 0.0 ? fastest * 1.05 : 1.0);
}

}  // namespace

Axes::Axes(const Plan& plan, const std::vector<std::vector<RateRange>>& ranges)
    : steps_(Scale::linear(0.0, static_cast<double>(plan.total_steps))), rates_(scale_of_rates(plan, ranges)) {}

double Axes::x(double step) const {
    return left + (right - left) * steps_.place(step);
}

double Axes::y(double rate) const {
    return bottom - (bottom - top) * rates_.place(rate);
}

std::vector<double> Axes::step_ticks() const {
    // A step is whole, however few there are.
    std::vector<double> ticks = steps_.ticks(8);
    std::erase_if(ticks, [](double step) { return step != std::floor(step); });
    return ticks;
}

}  // namespace strata::optim::svg
