// How the axis of values is chosen.
#include <algorithm>
#include <cmath>

#include "apps/strata/report/chart.h"

namespace strata::app::report {
namespace {

/// Sorted; finite.
std::vector<double> values_of(const Series& series) {
    std::vector<double> values;
    for (const Points* points : {&series.points, &series.base}) {
        for (const auto& point : *points) {
            if (std::isfinite(point[1])) values.push_back(point[1]);
        }
    }
    std::sort(values.begin(), values.end());
    return values;
}

/// Ends moved out to round values.
Scale round_linear(double low, double high) {
    if (low >= 0.0 && low < 0.35 * high) low = 0.0;
    if (low == high) {
        const double room = high == 0.0 ? 1.0 : std::abs(high) * 0.1;
        low -= low == 0.0 ? 0.0 : room;
        high += room;
    }
    const double step = optim::svg::tick_step(high - low, 5);
    return Scale::linear(std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step);
}

/// The value that a share of the sorted values is below: single spikes should not choose the scale.
double quantile(const std::vector<double>& sorted, double share) {
    return sorted[static_cast<std::size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

Scale scale_of(const std::vector<const Series*>& series, const std::vector<Guide>& guides, Spread spread) {
    std::vector<double> all;
    std::vector<double> peaks;
    for (const Series* each : series) {
        const std::vector<double> values = values_of(*each);
        if (values.empty()) continue;
        all.insert(all.end(), values.begin(), values.end());
        if (values.back() > 0.0) peaks.push_back(values.back());
    }
    for (const Guide& guide : guides) all.push_back(guide.value);
    if (all.empty()) return Scale::linear(0.0, 1.0);
    std::sort(all.begin(), all.end());
    const auto positive = std::upper_bound(all.begin(), all.end(), 0.0);
    const bool negative = all.front() < 0.0;
    if (spread == Spread::peaks && !peaks.empty()) {
        const auto [slowest, fastest] = std::minmax_element(peaks.begin(), peaks.end());
        if (*fastest / *slowest > optim::svg::linear_span)
            return Scale::logarithmic(std::pow(10.0, std::floor(std::log10(*slowest)) - 1.0), *fastest * 1.1);
    } else if (spread == Spread::values && !negative && positive != all.end()) {
        const std::vector<double> sizes(positive, all.end());
        if (quantile(sizes, 0.98) / quantile(sizes, 0.02) > optim::svg::linear_span)
            return Scale::logarithmic(std::max(sizes.front(), quantile(sizes, 0.02) / 1e2) / 1.2, sizes.back() * 1.2);
    }
    return round_linear(all.front(), all.back());
}

Scale linear_from_zero(const std::vector<const Series*>& series) {
    double high = 0.0;
    for (const Series* each : series) {
        const std::vector<double> values = values_of(*each);
        if (!values.empty()) high = std::max(high, values.back());
    }
    return round_linear(0.0, high);
}

std::size_t buckets_for(std::size_t series) {
    constexpr std::size_t points = 16000;
    return std::clamp<std::size_t>(points / (2 * std::max<std::size_t>(1, series)), 100, 500);
}

}  // namespace strata::app::report
