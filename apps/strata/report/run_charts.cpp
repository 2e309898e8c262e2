// What the sections of charts share.
#include "apps/strata/report/run_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>

namespace strata::app::report {
namespace {

bool same_stages(const RunRecord& a, const RunRecord& b) {
    return std::equal(a.stages.begin(), a.stages.end(), b.stages.begin(), b.stages.end(),
                      [](const StageSpan& x, const StageSpan& y) {
                          return x.name == y.name && x.first == y.first && x.end == y.end;
                      });
}

std::size_t longest_log(const Runs& runs) {
    std::size_t longest = 0;
    for (const RunRecord& run : runs) longest = std::max(longest, run.steps.size());
    return longest;
}

}  // namespace

std::string run_ink(std::size_t run) {
    return fmt::format("r{}", run % run_colours);
}

std::string group_ink(std::size_t group, std::size_t groups) {
    return fmt::format("n{}g{}", groups, group);
}

std::string row_of_charts(const std::string& title, const std::string& note, std::vector<Chart> charts,
                          const std::string& id) {
    if (charts.empty()) return {};
    if (charts.size() == 1) {
        charts.front().title = title;
        charts.front().note = note;
        return chart_html(charts.front(), id);
    }
    std::string out;
    for (std::size_t i = 0; i < charts.size(); ++i) {
        charts[i].alone = false;
        charts[i].end_names = false;
        out += chart_html(charts[i], fmt::format("{}-{}", id, i));
    }
    const bool logarithmic = charts.front().scale && charts.front().scale->is_logarithmic();
    return fmt::format("<div class=\"row\"><h3>{}</h3><p>{}{}</p>{}<div class=\"small\">\n{}</div></div>\n",
                       optim::svg::escaped(title), optim::svg::escaped(note), logarithmic ? " Logarithmic." : "",
                       legend_html(charts.front()), out);
}

double last_step_in_row(const Runs& runs, const RunRecord& run) {
    const double longest = last_step(runs);
    return run.last_step() * 3 < longest ? std::max(1.0, run.last_step()) : longest;
}

std::size_t smoothing_span(const Runs& runs) {
    const std::size_t longest = longest_log(runs);
    return longest < 100 ? 0 : longest / 40;
}

double last_step(const Runs& runs) {
    double last = 1;
    for (const RunRecord& run : runs) last = std::max(last, run.last_step());
    return last;
}

std::vector<StageSpan> shared_stages(const Runs& runs) {
    for (const RunRecord& run : runs) {
        if (!same_stages(run, runs.front())) return {};
    }
    return runs.front().stages.size() > 1 ? runs.front().stages : std::vector<StageSpan>{};
}

Points drawn(const RunRecord& run, const Column& values, std::size_t series) {
    return decimated(points_of(run.steps, values), buckets_for(series));
}

std::string thinning_note(const Runs& runs, std::size_t series) {
    const std::size_t longest = longest_log(runs);
    const std::size_t buckets = buckets_for(series);
    if (longest <= 2 * buckets) return {};
    return fmt::format(" Drawn: the lowest and the highest of each {} logged updates.",
                       (longest + buckets - 1) / buckets);
}

std::string number_chart(const Runs& runs, const std::string& key, Chart chart, const std::string& id) {
    chart.last_step = last_step(runs);
    chart.stages = shared_stages(runs);
    const std::size_t span = smoothing_span(runs);
    const std::size_t lines = (span > 0 ? 2 : 1) * runs.size();
    std::vector<Series> lines_on_top;
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const Column* values = runs[r].number(key);
        if (values == nullptr) continue;
        Series raw{runs[r].name, run_ink(r), drawn(runs[r], *values, lines)};
        if (span > 0) {
            Series line{runs[r].name, run_ink(r), drawn(runs[r], smoothed(*values, static_cast<double>(span)), lines),
                        Look::bold};
            raw.name += ", each update";
            raw.look = Look::faint;
            raw.in_legend = false;
            lines_on_top.push_back(std::move(line));
        }
        chart.series.push_back(std::move(raw));
    }
    if (chart.series.empty()) return {};
    std::move(lines_on_top.begin(), lines_on_top.end(), std::back_inserter(chart.series));
    if (runs.size() == 1) {
        for (Series& series : chart.series) series.in_legend = false;
    }
    if (span > 0) chart.note += smoothing_note(span, "Line");
    chart.note += thinning_note(runs, lines);
    return chart_html(chart, id);
}

std::string smoothing_note(std::size_t span, const char* what) {
    return fmt::format(" {}: a moving average over about {} logged updates.", what, span);
}

bool is_metric(const std::string& key) {
    if (!key.starts_with("eval_")) return false;
    for (const char* other : {"loss", "runtime", "per_second", "samples"}) {
        if (key.find(other) != std::string::npos) return false;
    }
    return true;
}

std::string metric_title(const std::string& key) {
    std::string title = key.starts_with("eval_") ? key.substr(5) : key;
    std::replace(title.begin(), title.end(), '_', ' ');
    if (!title.empty()) title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
    return title;
}

}  // namespace strata::app::report
