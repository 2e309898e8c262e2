#include "apps/strata/report/chart_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/strata/report/numbers.h"
#include "optim/text_table.h"

namespace strata::app::report {
namespace {

using optim::svg::escaped;

constexpr std::size_t most_end_names = 16;

/// From the top, as a share of the height.
double from_top(const Scale& values, double value) {
    return 1.0 - std::clamp(values.place(value), 0.0, 1.0);
}

std::string percent(double share) {
    return fmt::format("{:.2f}%", 100 * share);
}

std::string step_text(double step) {
    return optim::grouped_digits(std::llround(step));
}

/// The finite points that a table or a description tells of.
struct Extent {
    std::array<double, 2> first{}, lowest{}, highest{}, last{};
};

std::optional<Extent> extent_of(const Points& points) {
    std::optional<Extent> out;
    for (const auto& point : points) {
        if (!std::isfinite(point[1])) continue;
        if (!out) out = Extent{point, point, point, point};
        if (point[1] < out->lowest[1]) out->lowest = point;
        if (point[1] > out->highest[1]) out->highest = point;
        out->last = point;
    }
    return out;
}

Points heights(const Series& series) {
    Points points = series.points;
    for (std::size_t i = 0; i < series.base.size(); ++i) points[i][1] -= series.base[i][1];
    return points;
}

}  // namespace

std::string legend_html(const Chart& chart) {
    const auto shown =
        std::count_if(chart.series.begin(), chart.series.end(), [](const Series& s) { return s.in_legend; });
    if (shown == 0 || (chart.series.size() < 2 && chart.skipped.empty())) return {};
    std::string out = "<ul class=\"legend\">";
    for (const Series& series : chart.series) {
        if (!series.in_legend) continue;
        const char* kind = series.look == Look::dots ? "dot" : series.look == Look::area ? "box" : "rule";
        out += fmt::format("<li class=\"{} {}{}\">{}</li>", kind, series.ink, series.look == Look::faint ? " pale" : "",
                           escaped(series.name));
    }
    if (!chart.skipped.empty()) out += "<li class=\"skip\">updates skipped</li>";
    return out + "</ul>\n";
}

std::string caption(const Chart& chart, bool logarithmic) {
    std::string note = escaped(chart.note);
    if (logarithmic && chart.alone) note += " Logarithmic.";
    return fmt::format("<figcaption><h3>{}</h3>{}</figcaption>\n{}", escaped(chart.title),
                       note.empty() ? "" : "<p>" + note + "</p>", chart.alone ? legend_html(chart) : "");
}

std::string description(const Chart& chart) {
    std::string out = fmt::format("{} over {} updates.", chart.title, step_text(chart.last_step));
    if (chart.series.size() > 6) {
        return out + fmt::format(" {} lines, from {} to {}.", chart.series.size(), chart.series.front().name,
                                 chart.series.back().name);
    }
    for (const Series& series : chart.series) {
        const auto extent = extent_of(heights(series));
        if (!extent) continue;
        out +=
            fmt::format(" {}: from {} to {}, between {} and {}.", series.name, number_text(extent->first[1]),
                        number_text(extent->last[1]), number_text(extent->lowest[1]), number_text(extent->highest[1]));
    }
    return out;
}

std::string value_ticks(const Scale& values) {
    std::string out = "<div class=\"values\" aria-hidden=\"true\">";
    for (const double tick : values.ticks(5)) {
        out += fmt::format("<span style=\"top:{}\">{}</span>", percent(from_top(values, tick)), tick_text(tick));
    }
    return out + "</div>\n";
}

std::string step_ticks(const Scale& steps) {
    std::string out =
        "<div class=\"unit\" aria-hidden=\"true\"><span>update</span></div>\n"
        "<div class=\"steps\" aria-hidden=\"true\">";
    for (const double tick : steps.ticks(5)) {
        if (tick != std::floor(tick)) continue;
        out += fmt::format("<span style=\"left:{}\">{}</span>", percent(steps.place(tick)), tick_text(tick));
    }
    return out + "</div>\n";
}

std::string stage_names(const Chart& chart, const Scale& steps) {
    if (chart.stages.empty()) return {};
    std::string out = "<div class=\"stages\" aria-hidden=\"true\">";
    for (std::size_t s = 0; s < chart.stages.size(); ++s) {
        const StageSpan& stage = chart.stages[s];
        if (stage.first >= steps.high()) break;
        const double width = steps.place(std::min(stage.end, steps.high())) - steps.place(stage.first);
        const std::string name = escaped(stage.name);
        out += fmt::format("<span style=\"left:{};width:{}\" title=\"{}: updates {} to {}\"><i>{}</i><b>{}</b></span>",
                           percent(steps.place(stage.first)), percent(width), name, step_text(stage.first + 1),
                           step_text(stage.end), s + 1, name);
    }
    return out + "</div>\n";
}

std::string guide_names(const Chart& chart, const Scale& values) {
    std::string out;
    for (const Guide& guide : chart.guides) {
        out += fmt::format("<span class=\"guide-name\" style=\"top:{}\">{}</span>",
                           percent(from_top(values, guide.value)), escaped(guide.label));
    }
    return out;
}

std::string end_names(const Chart& chart, const Scale& values) {
    if (!chart.end_names || chart.series.size() > most_end_names) return {};
    std::vector<std::pair<double, const Series*>> ends;
    for (const Series& series : chart.series) {
        if (const auto extent = extent_of(series.points)) ends.emplace_back(from_top(values, extent->last[1]), &series);
    }
    std::stable_sort(ends.begin(), ends.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    // A line of text takes this share of the drawing's height. Down from the top, then back up from the bottom.
    constexpr double line = 1.0 / most_end_names;
    for (std::size_t i = 1; i < ends.size(); ++i) ends[i].first = std::max(ends[i].first, ends[i - 1].first + line);
    double limit = 1.0;
    for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
        end->first = std::min(end->first, limit);
        limit = end->first - line;
    }
    std::string out = "<div class=\"ends\" aria-hidden=\"true\">";
    for (const auto& [top, series] : ends) {
        out += fmt::format("<span class=\"rule {}\" style=\"top:{}\">{}</span>", series->ink, percent(top),
                           escaped(series->name));
    }
    return out + "</div>\n";
}

std::string value_table(const Chart& chart) {
    std::string rows;
    const auto cell = [](const std::array<double, 2>& point) {
        return fmt::format("<td>{} <small>at {}</small></td>", number_text(point[1]), step_text(point[0]));
    };
    for (const Series& series : chart.series) {
        const auto extent = extent_of(heights(series));
        if (!extent) continue;
        rows += fmt::format("<tr><th scope=\"row\">{}</th>{}{}{}{}</tr>\n", escaped(series.name), cell(extent->first),
                            cell(extent->lowest), cell(extent->highest), cell(extent->last));
    }
    if (rows.empty()) return {};
    return fmt::format(
        "<details><summary>Values</summary><div class=\"scroll\" tabindex=\"0\"><table>\n<caption "
        "class=\"unseen\">{}</caption>"
        "<thead><tr><td></td><th scope=\"col\">first</th><th scope=\"col\">lowest</th><th scope=\"col\">highest</th>"
        "<th scope=\"col\">last</th></tr></thead>\n<tbody>\n{}</tbody></table></div></details>\n",
        escaped(chart.title), rows);
}

}  // namespace strata::app::report
