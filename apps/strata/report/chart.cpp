#include "apps/strata/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/strata/report/chart_words.h"
#include "apps/strata/report/numbers.h"

namespace strata::app::report {
namespace {

using optim::svg::escaped;
using optim::svg::thinned;

// The drawing's own units; the page stretches it to any width and height.
constexpr double width = 1000;
constexpr double height = 300;

struct Frame {
    Scale steps;
    Scale values;

    double x(double step) const { return width * steps.place(step); }
    double y(double value) const { return height * (1.0 - values.place(value)); }
};

/// Into drawing units, without idle points; gaps stay.
Points placed(const Points& points, const Frame& frame) {
    Points out;
    Points piece;
    const auto finish = [&] {
        const Points thin = thinned(piece);
        out.insert(out.end(), thin.begin(), thin.end());
        piece.clear();
    };
    for (const auto& [step, value] : points) {
        if (std::isnan(value)) {
            finish();
            out.push_back({frame.x(step), value});
        } else {
            piece.push_back({frame.x(step), frame.y(value)});
        }
    }
    finish();
    return out;
}

/// A line of no length with a round end is a dot that no stretching makes an ellipse.
std::string dots_data(const Points& points, const Frame& frame) {
    std::string out;
    for (const auto& [step, value] : points) {
        if (std::isfinite(value)) out += fmt::format("M{:.1f} {:.1f}h0", frame.x(step), frame.y(value));
    }
    return out;
}

std::string area_data(const Series& series, const Frame& frame) {
    Points edge = placed(series.points, frame);
    Points base = placed(series.base, frame);
    edge.insert(edge.end(), base.rbegin(), base.rend());
    return path_data(edge) + "Z";
}

bool is_single_point(const Series& series) {
    return std::count_if(series.points.begin(), series.points.end(),
                         [](const auto& point) { return std::isfinite(point[1]); }) == 1;
}

const char* class_of(Look look) {
    switch (look) {
        case Look::faint:
            return "faint";
        case Look::bold:
            return "bold";
        case Look::dots:
            return "dots";
        case Look::area:
            return "area";
        case Look::line:
        case Look::marked:
            break;
    }
    return "line";
}

/// The script reads values from the paths that have a name, so of a line and its dots only one has.
std::string path(const char* look, const Series& series, const std::string& data, bool named) {
    if (data.empty() || data == "Z") return {};
    return fmt::format("<path class=\"{} {}\"{} d=\"{}\"/>\n", look, series.ink,
                       named ? fmt::format(" data-name=\"{}\"", escaped(series.name)) : "", data);
}

std::string series_paths(const Series& series, const Frame& frame) {
    if (series.look == Look::area) return path("area", series, area_data(series, frame), false);
    if (series.look == Look::dots || is_single_point(series))
        return path("dots", series, dots_data(series.points, frame), true);
    std::string out = path(class_of(series.look), series, path_data(placed(series.points, frame)), true);
    if (series.look == Look::marked) out += path("dots", series, dots_data(series.points, frame), false);
    return out;
}

std::string bands(const Chart& chart, const Frame& frame) {
    std::string out;
    for (std::size_t s = 0; s < chart.stages.size(); ++s) {
        const double from = frame.x(std::min(chart.stages[s].first, chart.last_step));
        const double to = frame.x(std::min(chart.stages[s].end, chart.last_step));
        out += fmt::format("<rect class=\"{}\" x=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/>\n",
                           s % 2 == 0 ? "band" : "band odd", from, to - from, height);
    }
    return out;
}

std::string horizontal(const char* kind, double y) {
    return fmt::format("<path class=\"{}\" d=\"M0 {:.1f}H{}\"/>\n", kind, y, width);
}

std::string drawing(const Chart& chart, const Frame& frame, const std::string& id) {
    std::string out = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{}-t {}-d\" "
        "data-steps=\"{} {}\" data-values=\"{:.9g} {:.9g} {}\">\n<title id=\"{}-t\">{}</title>\n<desc "
        "id=\"{}-d\">{}</desc>\n",
        width, height, id, id, frame.steps.low(), frame.steps.high(), frame.values.low(), frame.values.high(),
        frame.values.is_logarithmic() ? "log" : "linear", id, escaped(chart.title), id, escaped(description(chart)));
    out += bands(chart, frame);
    for (const double tick : frame.values.ticks(5)) out += horizontal("grid", frame.y(tick));
    for (const Guide& guide : chart.guides) out += horizontal("guide", frame.y(guide.value));
    std::string marks;
    for (const double step : chart.skipped) marks += fmt::format("M{:.1f} 0V{}", frame.x(step), height);
    if (!marks.empty()) out += fmt::format("<path class=\"skipped\" d=\"{}\"/>\n", marks);
    for (const Series& series : chart.series) out += series_paths(series, frame);
    return out + "</svg>\n";
}

}  // namespace

std::string chart_html(const Chart& chart, const std::string& id) {
    std::vector<const Series*> all;
    for (const Series& series : chart.series) all.push_back(&series);
    const Frame frame{Scale::linear(0.0, std::max(1.0, chart.last_step)),
                      chart.scale ? *chart.scale : scale_of(all, chart.guides, Spread::values)};
    std::string out = fmt::format("<figure class=\"chart\" id=\"{}\">\n", id);
    out += caption(chart, frame.values.is_logarithmic());
    out += "<div class=\"plot\">\n";
    out += stage_names(chart, frame.steps);
    out += value_ticks(frame.values);
    out += "<div class=\"frame\">\n" + drawing(chart, frame, id) + guide_names(chart, frame.values) + "</div>\n";
    out += end_names(chart, frame.values);
    out += step_ticks(frame.steps);
    out += "</div>\n";
    out += value_table(chart);
    return out + "</figure>\n";
}

}  // namespace strata::app::report
