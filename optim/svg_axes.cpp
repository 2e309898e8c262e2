#include "optim/svg_axes.h"

#include <algorithm>
#include <cmath>

namespace strata::optim::svg {

namespace {

constexpr double linear_span = 20;

/// 1, 2 or 5 times a power of ten: the step between about `count` ticks up to `end`.
double tick_step(double end, double count) {
    const double raw = end / count;
    const double decade = std::pow(10.0, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (raw <= factor * decade * (1 + 1e-9)) return factor * decade;
    }
    return 10.0 * decade;
}

}  // namespace

Axes::Axes(const Plan& plan, const std::vector<std::vector<RateRange>>& ranges)
    : steps_(static_cast<double>(plan.total_steps)) {
    double slowest = 0.0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const double peak = whole_run(ranges, g).peak;
        high_ = std::max(high_, peak);
        if (peak > 0.0) slowest = slowest > 0.0 ? std::min(slowest, peak) : peak;
    }
    logarithmic_ = slowest > 0.0 && high_ / slowest > linear_span;
    if (logarithmic_) {
        low_decade_ = std::floor(std::log10(slowest)) - 1.0;
        high_decade_ = std::log10(high_) + 0.05;
    }
    if (high_ <= 0.0) high_ = 1.0;
}

double Axes::x(double step) const {
    return left + (right - left) * step / steps_;
}

double Axes::y(double rate) const {
    if (!logarithmic_) return bottom - (bottom - top) * rate / (high_ * 1.05);
    const double decade = rate > 0.0 ? std::max(std::log10(rate), low_decade_) : low_decade_;
    return bottom - (bottom - top) * (decade - low_decade_) / (high_decade_ - low_decade_);
}

std::vector<double> Axes::rate_ticks() const {
    std::vector<double> ticks;
    if (!logarithmic_) {
        const double step = tick_step(high_, 5);
        for (int i = 0; i * step <= high_ * 1.05; ++i) ticks.push_back(i * step);
        return ticks;
    }
    const double step = std::max(1.0, std::ceil((high_decade_ - low_decade_) / 8.0));
    for (double decade = low_decade_; decade <= high_decade_; decade += step) ticks.push_back(std::pow(10.0, decade));
    return ticks;
}

std::vector<double> Axes::step_ticks() const {
    const double step = std::max(1.0, tick_step(steps_, 8));
    std::vector<double> ticks;
    for (int i = 0; i * step <= steps_; ++i) ticks.push_back(i * step);
    return ticks;
}

}  // namespace strata::optim::svg
