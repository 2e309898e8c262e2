#include "apps/strata/report/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace strata::app::report {
namespace {

/// The points of one bucket, [begin, end), without gaps: its lowest and highest, in their order.
void add_extremes(Points& out, Points::const_iterator begin, Points::const_iterator end) {
    const auto lower = [](const auto& a, const auto& b) { return a[1] < b[1]; };
    auto [low, high] = std::minmax_element(begin, end, lower);
    if (high < low) std::swap(low, high);
    out.push_back(*low);
    if (high != low) out.push_back(*high);
}

/// Calls `each` with stretches of points that share a bucket and hold no gap, and with each gap alone.
template <typename Each>
void for_each_bucket(const Points& points, std::size_t buckets, Each&& each) {
    const double first = points.front()[0];
    const double width = (points.back()[0] - first) / static_cast<double>(buckets);
    const auto bucket = [&](const auto& point) {
        return std::min(static_cast<std::size_t>((point[0] - first) / width), buckets - 1);
    };
    for (auto begin = points.begin(); begin != points.end();) {
        auto end = std::next(begin);
        if (!std::isnan((*begin)[1])) {
            while (end != points.end() && !std::isnan((*end)[1]) && bucket(*end) == bucket(*begin)) ++end;
        }
        each(begin, end);
        begin = end;
    }
}

}  // namespace

Points points_of(const Column& steps, const Column& values) {
    Points points;
    bool gap = false;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(values[i])) {
            gap = !points.empty();
            continue;
        }
        if (gap) points.push_back({steps[i], std::numeric_limits<double>::quiet_NaN()});
        points.push_back({steps[i], values[i]});
        gap = false;
    }
    return points;
}

Points decimated(const Points& points, std::size_t buckets) {
    if (points.size() <= 2 * buckets) return points;
    Points out{points.front()};
    for_each_bucket(points, buckets, [&](auto begin, auto end) { add_extremes(out, begin, end); });
    if (out[1] == out[0]) out.erase(out.begin());
    if (out.back() != points.back()) out.push_back(points.back());
    return out;
}

Points averaged(const Points& points, std::size_t buckets) {
    if (points.size() <= buckets) return points;
    Points out;
    for_each_bucket(points, buckets, [&](auto begin, auto end) {
        std::array<double, 2> sum{};
        for (auto point = begin; point != end; ++point) sum = {sum[0] + (*point)[0], sum[1] + (*point)[1]};
        const auto count = static_cast<double>(std::distance(begin, end));
        out.push_back({sum[0] / count, sum[1] / count});
    });
    return out;
}

Column smoothed(const Column& values, double span) {
    const double keep = 1.0 - 2.0 / (span + 1.0);
    Column out;
    double mean = 0;
    double weight = 0;
    for (const double value : values) {
        if (!std::isfinite(value)) {
            out.push_back(value);
            continue;
        }
        mean = keep * mean + (1.0 - keep) * value;
        weight = keep * weight + (1.0 - keep);
        out.push_back(mean / weight);
    }
    return out;
}

std::string path_data(const Points& points) {
    std::string out;
    char command = 'M';
    for (const auto& [x, y] : points) {
        if (std::isnan(y)) {
            command = 'M';
            continue;
        }
        fmt::format_to(std::back_inserter(out), "{}{:.1f} {:.1f}", command, x, y);
        command = 'L';
    }
    return out;
}

}  // namespace strata::app::report
