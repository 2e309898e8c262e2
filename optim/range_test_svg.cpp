// Range tests as a drawing. Units: pixels, learning rates, losses.
#include "optim/range_test_output.h"
#include "optim/svg_frame.h"
#include "optim/svg_ink.h"
#include "optim/svg_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace strata::optim {

namespace {

constexpr std::size_t legend_columns = 4;
constexpr double legend_top = svg::bottom + 64;
constexpr double legend_line = 20;
constexpr double margin = 0.08;  // of the losses' range, above and below it

/// Losses and rates onto the paper.
struct Axes {
    svg::Scale rates, losses;

    double x(double rate) const { return svg::left + (svg::right - svg::left) * rates.place(rate); }
    double y(double loss) const { return svg::bottom - (svg::bottom - svg::top) * losses.place(loss); }
};

/// The fall of the smoothed loss, and as much again above it, or as far as a suggestion lies: where it diverges it
/// leaves the paper. A loss that only rises is shown whole.
std::pair<double, double> losses_shown(const RangeTest& test) {
    const auto& losses = test.curve.smoothed();
    const auto least = std::min_element(losses.begin(), losses.end());
    const double before = *std::max_element(losses.begin(), least + 1);
    const double whole = *std::max_element(losses.begin(), losses.end());
    double high = before > *least ? std::min(whole, 2.0 * before - *least) : whole;
    if (test.suggestions) {
        for (const auto& named : named_suggestions(*test.suggestions))
            high = std::max(high, named.suggestion.loss_there);
    }
    return {*least, high};
}

svg::Scale scale_of_losses(const std::vector<RangeTest>& tests) {
    double low = INFINITY, high = -INFINITY;
    for (const RangeTest& test : tests) {
        if (test.curve.smoothed().empty()) continue;
        const auto [its_low, its_high] = losses_shown(test);
        low = std::min(low, its_low);
        high = std::max(high, its_high);
    }
    if (low > high) low = high = 0.0;  // no loss at all
    const double room = high > low ? (high - low) * margin : std::max(1e-3, std::abs(low) * margin);
    return svg::Scale::linear(low - room, high + room);
}

/// What stands outside the frame is cut off at it.
std::string framed(const std::string& lines) {
    return fmt::format(
        "<clipPath id=\"frame\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n"
        "<g clip-path=\"url(#frame)\">\n{}</g>\n",
        svg::left, svg::top, svg::right - svg::left, svg::bottom - svg::top, lines);
}

/// Counted from the input, as the lines are coloured; the last where all groups are tested together.
std::size_t index_of(const Plan& plan, const std::string& group) {
    const auto found = std::find_if(plan.groups.begin(), plan.groups.end(),
                                    [&](const Group& each) { return group.empty() || each.name == group; });
    return group.empty() ? plan.groups.size() - 1 : static_cast<std::size_t>(found - plan.groups.begin());
}

std::string smoothed_line(const RangeTestReport& report, const RangeTest& test, const Axes& axes) {
    svg::Points points;
    for (std::size_t i = 0; i < test.curve.rates().size(); ++i) {
        points.push_back({axes.x(test.curve.rates()[i]), axes.y(test.curve.smoothed()[i])});
    }
    std::string path;
    char command = 'M';
    for (const auto& [x, y] : svg::thinned(points)) {
        fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", command, x, y);
        command = 'L';
    }
    return fmt::format("<path class=\"line g{}\" d=\"{}\"><title>{}</title></path>\n",
                       index_of(report.plan, test.group), path,
                       svg::escaped(test.group.empty() ? "all groups" : test.group));
}

std::string single_losses(const RangeTest& test, const Axes& axes) {
    std::string out;
    for (std::size_t i = 0; i < test.curve.rates().size(); ++i) {
        out += fmt::format("<circle class=\"raw\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\"/>\n",
                           axes.x(test.curve.rates()[i]), axes.y(test.curve.losses()[i]));
    }
    return out;
}

/// What the suggestions are made from.
std::string judged_band(const RangeTest& test, const Axes& axes) {
    const RangeCurve& curve = test.curve;
    if (curve.last_judged() <= curve.first_judged()) return {};
    const double from = axes.x(curve.rates()[curve.first_judged()]);
    const double to = axes.x(curve.rates()[curve.last_judged() - 1]);
    return fmt::format(
        "<rect class=\"judged\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"><title>what suggestions are made "
        "from</title></rect>\n",
        from, svg::top, to - from, svg::bottom - svg::top);
}

/// A shape for each suggestion: circle, square, triangle.
std::string mark(std::size_t kind, double x, double y, const std::string& title) {
    constexpr double r = 5.5;
    std::string shape;
    if (kind == 0) shape = fmt::format("<circle class=\"mark\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">", x, y, r);
    if (kind == 1) {
        shape = fmt::format("<rect class=\"mark\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\">", x - r, y - r,
                            2 * r, 2 * r);
    }
    if (kind == 2) {
        shape = fmt::format("<path class=\"mark\" d=\"M{:.1f} {:.1f}l{} {}h{}z\">", x, y - r - 1, r + 1, 2 * r + 1,
                            -2 * (r + 1));
    }
    constexpr const char* ends[] = {"</circle>", "</rect>", "</path>"};
    return fmt::format("{}<title>{}</title>{}\n", shape, svg::escaped(title), ends[kind]);
}

std::string legend_text(double x, double y, const std::string& text) {
    return fmt::format("<text class=\"small\" x=\"{:.1f}\" y=\"{}\">{}</text>\n", x + 22, y, svg::escaped(text));
}

/// Where entry i of the legend stands.
std::pair<double, double> legend_place(std::size_t i, std::size_t rows) {
    const double column = (svg::right - svg::left) / legend_columns;
    return {svg::left + column * static_cast<double>(i / rows),
            legend_top + legend_line * static_cast<double>(i % rows)};
}

std::string one_test(const RangeTestReport& report, const Axes& axes) {
    const RangeTest& test = report.tests.front();
    std::string out = framed(single_losses(test, axes) + smoothed_line(report, test, axes));
    if (!test.suggestions) return out + legend_text(svg::left - 22, legend_top, "no suggestion: too few losses");
    const auto all = named_suggestions(*test.suggestions);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto& [name, title, suggestion] = all[i];
        const std::string text = fmt::format("{} {:.2e}", title, suggestion.rate);
        const auto [x, y] = legend_place(i, 1);
        out += mark(i, axes.x(suggestion.rate_there), axes.y(suggestion.loss_there), text);
        out += mark(i, x + 8, y - 4, text) + legend_text(x, y, text);
    }
    return out;
}

std::string several_tests(const RangeTestReport& report, const Axes& axes, std::size_t rows) {
    std::string lines;
    for (const RangeTest& test : report.tests) lines += smoothed_line(report, test, axes);
    std::string out = framed(lines);
    for (std::size_t i = 0; i < report.tests.size(); ++i) {
        const RangeTest& test = report.tests[i];
        std::string text = test.group + ": none";
        if (test.suggestions) {
            const RateSuggestion& valley = test.suggestions->valley;
            text = fmt::format("{} {:.1e}", test.group, valley.rate);
            out += mark(0, axes.x(valley.rate_there), axes.y(valley.loss_there), text);
        }
        const auto [x, y] = legend_place(i, rows);
        out += fmt::format("<line class=\"line g{}\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>\n",
                           index_of(report.plan, test.group), x, x + 16, y - 4, y - 4);
        out += legend_text(x, y, text);
    }
    return out;
}

std::string title_of(const RangeTestReport& report) {
    std::string what = "each group alone (circles: valleys)";
    if (report.tests.size() == 1) {
        const std::string& group = report.tests.front().group;
        what = group.empty() ? "all groups together" : fmt::format("group {} alone", group);
    }
    return fmt::format("Range test of stage {}, {}: smoothed loss over learning rate", report.stage.name, what);
}

}  // namespace

std::string range_test_svg(const RangeTestReport& report) {
    const Axes axes{svg::Scale::logarithmic(report.config.start_lr, report.config.end_lr),
                    scale_of_losses(report.tests)};
    const bool several = report.tests.size() > 1;
    const std::size_t rows = several ? (report.tests.size() + legend_columns - 1) / legend_columns : 1;
    std::vector<svg::Tick> losses, rates;
    for (const double loss : axes.losses.ticks(6)) losses.push_back({axes.y(loss), fmt::format("{:.4g}", loss)});
    for (const double rate : axes.rates.ticks(8)) rates.push_back({axes.x(rate), fmt::format("{:.0e}", rate)});
    std::string out =
        svg::opening(legend_top + legend_line * static_cast<double>(rows), title_of(report), report.plan.groups.size());
    if (!several) out += judged_band(report.tests.front(), axes);
    out += svg::across(losses) + svg::foot(rates, "learning rate");
    out += several ? several_tests(report, axes, rows) : one_test(report, axes);
    return out + "</svg>\n";
}

}  // namespace strata::optim
