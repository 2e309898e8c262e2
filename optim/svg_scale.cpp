#include "optim/svg_scale.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace strata::optim::svg {

double tick_step(double span, double count) {
    const double raw = span / count;
    const double decade = std::pow(10.0, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (raw <= factor * decade * (1 + 1e-9)) return factor * decade;
    }
    return 10.0 * decade;
}

namespace {

/// The fewer decades, the more ticks in each.
std::vector<double> factors_between(double decades) {
    if (decades < 1.6) return {1.0, 2.0, 5.0};
    return decades < 3.0 ? std::vector{1.0, 3.0} : std::vector{1.0};
}

}  // namespace

Scale::Scale(double low, double high, bool logarithmic) : low_(low), high_(high), logarithmic_(logarithmic) {
    STRATA_CHECK(low < high && (!logarithmic || low > 0), "a scale from {} to {}", low, high);
}

double Scale::place(double value) const {
    if (!logarithmic_) return (value - low_) / (high_ - low_);
    const double low = std::log10(low_);
    const double decade = value > low_ ? std::log10(value) : low;
    return (decade - low) / (std::log10(high_) - low);
}

std::vector<double> Scale::ticks(int count) const {
    std::vector<double> out;
    // A tick that rounding has put a hair outside still counts.
    const double slack = 1e-9;
    if (!logarithmic_) {
        const double step = tick_step(high_ - low_, count);
        const double first = std::ceil(low_ / step - slack) + 0.0;  // a sum, so that 0 is never -0
        for (double i = first; i * step <= high_ + slack * step; ++i) out.push_back(i * step);
        return out;
    }
    const double first = std::log10(low_);
    const double last = std::log10(high_);
    const double step = std::max(1.0, std::ceil((last - first) / 8.0));
    for (double decade = std::floor(first); decade <= last + slack; decade += step) {
        for (const double factor : factors_between(last - first)) {
            const double at = decade + std::log10(factor);
            if (at >= first - slack && at <= last + slack) out.push_back(factor * std::pow(10.0, decade));
        }
    }
    return out;
}

}  // namespace strata::optim::svg
