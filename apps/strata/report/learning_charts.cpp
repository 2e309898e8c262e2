#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/strata/report/run_charts.h"

namespace strata::app::report {
namespace {

Points evaluated(const RunRecord& run, const std::string& key) {
    Points points;
    for (const Evaluation& evaluation : run.evaluations) {
        const auto value = evaluation.values.find(key);
        if (value != evaluation.values.end() && std::isfinite(value->second))
            points.push_back({evaluation.step, value->second});
    }
    return points;
}

/// Where the count of skipped updates, which a line has only when it is above 0, has grown.
std::vector<double> skipped_updates(const RunRecord& run) {
    std::vector<double> out;
    const Column* counts = run.number("skipped_steps");
    if (counts == nullptr) return out;
    double before = 0;
    for (std::size_t i = 0; i < counts->size(); ++i) {
        const double count = std::isfinite((*counts)[i]) ? (*counts)[i] : 0;
        if (count > before) out.push_back(run.steps[i]);
        before = count;
    }
    return out;
}

/// No more marks than a screen has columns.
std::vector<double> distinct_marks(std::vector<double> steps, double last) {
    std::sort(steps.begin(), steps.end());
    const double column = last / 500;
    std::vector<double> out;
    for (const double step : steps) {
        if (out.empty() || step - out.back() >= column) out.push_back(step);
    }
    return out;
}

/// The values behind, their course before them, evaluations on top. Of several runs the legend has the course alone.
void add_losses(Chart& chart, const Runs& runs, std::size_t r, std::size_t span) {
    const RunRecord& run = runs[r];
    const bool alone = runs.size() == 1;
    const auto label = [&](const char* what) {
        return alone ? std::string(what) : fmt::format("{}, {}", run.name, what);
    };
    const Column* loss = run.number("loss");
    const Column* mean = run.number("mean_loss") != nullptr ? run.number("mean_loss") : loss;
    const std::size_t lines = 2 * runs.size();
    if (loss != nullptr) {
        Series raw{label("each update"), run_ink(r), drawn(run, *loss, lines), Look::faint};
        raw.in_legend = alone;
        chart.series.push_back(std::move(raw));
        chart.series.push_back({alone ? "smoothed" : run.name, run_ink(r),
                                drawn(run, smoothed(*mean, static_cast<double>(span)), lines), Look::bold});
    }
    Series evaluations{label("evaluation"), run_ink(r), evaluated(run, "eval_loss"), Look::dots};
    evaluations.in_legend = alone || loss == nullptr;
    if (!evaluations.points.empty()) chart.series.push_back(std::move(evaluations));
}

std::string loss_chart(const Runs& runs) {
    Chart chart{.title = "Loss", .series = {}, .last_step = last_step(runs), .stages = shared_stages(runs)};
    std::size_t logged = 0;
    for (const RunRecord& run : runs) {
        logged = std::max(logged, run.steps.size());
        const auto skipped = skipped_updates(run);
        chart.skipped.insert(chart.skipped.end(), skipped.begin(), skipped.end());
    }
    const std::size_t span = std::max<std::size_t>(5, logged / 40);
    for (std::size_t r = 0; r < runs.size(); ++r) add_losses(chart, runs, r, span);
    if (chart.series.empty()) return {};
    chart.skipped = distinct_marks(chart.skipped, chart.last_step);
    // What is behind comes first.
    std::stable_sort(chart.series.begin(), chart.series.end(),
                     [](const Series& a, const Series& b) { return a.look == Look::faint && b.look != Look::faint; });
    if (logged > 0) {
        chart.note = (runs.size() == 1 ? "" : "Dots: evaluation. Pale: each update.") + smoothing_note(span, "Line") +
                     thinning_note(runs, 2 * runs.size());
    }
    return chart_html(chart, "loss");
}

std::set<std::string> metrics_of(const Runs& runs) {
    std::set<std::string> metrics;
    for (const RunRecord& run : runs) {
        for (const Evaluation& evaluation : run.evaluations) {
            for (const auto& [key, value] : evaluation.values) {
                if (is_metric(key) && std::isfinite(value)) metrics.insert(key);
            }
        }
    }
    return metrics;
}

/// All metrics of one run in one chart.
std::string metrics_chart(const Runs& runs, const std::set<std::string>& metrics) {
    Chart chart{
        .title = "Evaluation metrics", .series = {}, .last_step = last_step(runs), .stages = shared_stages(runs)};
    for (const std::string& key : metrics) {
        chart.series.push_back({metric_title(key), fmt::format("r{}", chart.series.size() % run_colours),
                                evaluated(runs.front(), key), Look::marked});
    }
    return chart.series.empty() ? "" : chart_html(chart, "metrics");
}

/// One metric of all runs.
std::string metric_chart(const Runs& runs, const std::string& key) {
    Chart chart{.title = metric_title(key), .series = {}, .last_step = last_step(runs), .stages = shared_stages(runs)};
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const Points points = evaluated(runs[r], key);
        if (!points.empty()) chart.series.push_back({runs[r].name, run_ink(r), points, Look::marked});
    }
    return chart_html(chart, "metric-" + key);
}

/// The norm at which gradients are clipped, where all runs have the same.
std::vector<Guide> clip_guide(const Runs& runs) {
    const std::string limit = runs.front().setting("max_grad_norm");
    for (const RunRecord& run : runs) {
        if (run.setting("max_grad_norm") != limit) return {};
    }
    const double value = std::strtod(limit.c_str(), nullptr);
    if (value <= 0.0) return {};
    return {{value, fmt::format("clipped above {}", limit)}};
}

}  // namespace

std::string learning_charts(const Runs& runs) {
    std::string out = loss_chart(runs);
    const auto metrics = metrics_of(runs);
    if (runs.size() == 1) {
        out += metrics_chart(runs, metrics);
    } else {
        for (const std::string& key : metrics) out += metric_chart(runs, key);
    }
    Chart norm{.title = "Gradient norm", .note = "Of all groups together, before clipping.", .series = {}};
    norm.guides = clip_guide(runs);
    return out + number_chart(runs, "grad_norm", norm, "grad-norm");
}

}  // namespace strata::app::report
