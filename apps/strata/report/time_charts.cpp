#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/strata/report/run_charts.h"

namespace strata::app::report {
namespace {

/// In the order of a step; phases that a later version logs come after these.
constexpr std::array<const char*, 5> phases = {"forward", "backward", "reduce", "update", "gather"};
constexpr std::size_t phase_colours = 6;

NamedColumns in_order(NamedColumns columns) {
    const auto place = [](const auto& column) {
        return std::find(phases.begin(), phases.end(), column.first) - phases.begin();
    };
    std::stable_sort(columns.begin(), columns.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    return columns;
}

/// Each phase on top of those before it, in milliseconds an update.
std::vector<Series> stacked(const RunRecord& run) {
    std::vector<Series> series;
    const NamedColumns* seconds = run.columns("seconds");
    if (seconds == nullptr) return series;
    Column sum(run.steps.size(), 0.0);
    for (const auto& [name, values] : in_order(*seconds)) {
        const Column below = sum;
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += std::isfinite(values[i]) ? 1e3 * values[i] : 0.0;
        const std::size_t buckets = buckets_for(phases.size());
        series.push_back({name, fmt::format("p{}", series.size() % phase_colours),
                          averaged(points_of(run.steps, sum), buckets), Look::area,
                          averaged(points_of(run.steps, below), buckets)});
    }
    return series;
}

std::string phase_charts(const Runs& runs) {
    std::vector<Chart> charts;
    for (const RunRecord& run : runs) {
        std::vector<Series> series = stacked(run);
        if (series.empty()) continue;
        charts.push_back({.title = run.name,
                          .series = std::move(series),
                          .last_step = last_step_in_row(runs, run),
                          .stages = shared_stages({run})});
    }
    std::vector<const Series*> all;
    for (const Chart& chart : charts) {
        for (const Series& series : chart.series) all.push_back(&series);
    }
    for (Chart& chart : charts) chart.scale = linear_from_zero(all);
    return row_of_charts("Time of an update", "Milliseconds by phase on the first rank, waiting for others included.",
                         std::move(charts), "phases");
}

}  // namespace

std::string time_charts(const Runs& runs) {
    Chart speed{.title = "Tokens a second", .note = "In training, on all ranks together.", .series = {}};
    return phase_charts(runs) + number_chart(runs, "tokens_per_second", speed, "speed");
}

}  // namespace strata::app::report
