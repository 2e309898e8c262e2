#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "apps/strata/report/run_charts.h"

namespace strata::app::report {
namespace {

struct Kind {
    const char* key;  ///< of the objects by group in metrics.jsonl
    const char* id;
    const char* title;
    const char* note;
    std::vector<Guide> guides;
    Spread spread;
    bool noisy;  ///< smoothed where there are many values
};

std::vector<Kind> kinds() {
    return {
        {"lr", "rates", "Learning rates", "What each group's update was made with.", {}, Spread::peaks, false},
        {"group_grad_norm",
         "grad-norms",
         "Gradient norms",
         "Of each group, before clipping.",
         {},
         Spread::values,
         true},
        {"group_weight_norm", "weight-norms", "Weight norms", "Of each group's parameters.", {}, Spread::values, true},
        {"group_update_ratio",
         "update-ratios",
         "Updates over weights",
         "The norm of an update over that of the weights it changes; about a thousandth is usual.",
         {{1e-3, "0.001"}},
         Spread::values,
         true},
    };
}

const Column* column_of(const RunRecord& run, const std::string& key, const std::string& name) {
    const NamedColumns* columns = run.columns(key);
    if (columns == nullptr) return nullptr;
    const auto found =
        std::find_if(columns->begin(), columns->end(), [&](const auto& each) { return each.first == name; });
    return found == columns->end() ? nullptr : &found->second;
}

/// While a group is frozen it has no gradient, and its line has a gap. Its weights are there all the same.
Column without_frozen(const RunRecord& run, const std::string& key, const std::string& group, Column values) {
    const Column* gradients = column_of(run, "group_grad_norm", group);
    if (gradients == nullptr || key == "group_weight_norm") return values;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if ((*gradients)[i] == 0.0) values[i] = std::numeric_limits<double>::quiet_NaN();
    }
    return values;
}

std::vector<Series> group_series(const RunRecord& run, const Kind& kind, std::size_t span) {
    std::vector<Series> series;
    for (std::size_t g = 0; g < run.groups.size(); ++g) {
        const Column* values = column_of(run, kind.key, run.groups[g]);
        if (values == nullptr) continue;
        Column learning = without_frozen(run, kind.key, run.groups[g], *values);
        if (span > 0) learning = smoothed(learning, static_cast<double>(span));
        Series line{run.groups[g], group_ink(g, run.groups.size()), drawn(run, learning, run.groups.size())};
        line.in_legend = false;  // one legend serves all charts of groups
        if (!line.points.empty()) series.push_back(std::move(line));
    }
    return series;
}

std::size_t most_groups(const Runs& runs) {
    std::size_t most = 0;
    for (const RunRecord& run : runs) most = std::max(most, run.groups.size());
    return most;
}

std::string kind_charts(const Runs& runs, const Kind& kind) {
    std::vector<Chart> charts;
    const std::size_t span = kind.noisy ? smoothing_span(runs) : 0;
    for (const RunRecord& run : runs) {
        std::vector<Series> series = group_series(run, kind, span);
        if (series.empty()) continue;
        charts.push_back({.title = run.name,
                          .series = std::move(series),
                          .last_step = last_step_in_row(runs, run),
                          .stages = shared_stages({run}),
                          .guides = kind.guides,
                          .end_names = true});
    }
    std::vector<const Series*> all;
    for (const Chart& chart : charts) {
        for (const Series& series : chart.series) all.push_back(&series);
    }
    for (Chart& chart : charts) chart.scale = scale_of(all, kind.guides, kind.spread);
    const std::string note =
        kind.note + (span > 0 ? smoothing_note(span, "Lines") : "") + thinning_note(runs, most_groups(runs));
    return row_of_charts(kind.title, note, std::move(charts), kind.id);
}

}  // namespace

std::string group_charts(const Runs& runs) {
    std::string out;
    for (const Kind& kind : kinds()) out += kind_charts(runs, kind);
    return out;
}

}  // namespace strata::app::report
