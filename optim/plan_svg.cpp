// The rates of a plan as a drawing. Units: pixels, steps, learning rates.
#include "optim/plan_output.h"
#include "optim/svg_axes.h"
#include "optim/svg_ink.h"
#include "optim/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace strata::optim {

namespace {

using svg::escaped;

constexpr std::size_t legend_columns = 4;
constexpr std::size_t legend_entries = 32;  // of more groups, this many are named
constexpr std::size_t legend_name = 22;     // characters
constexpr double legend_top = svg::bottom + 64;
constexpr double legend_line = 20;

/// About a step a pixel, the ends and the end of the warm-up for certain.
std::vector<std::int64_t> sampled_steps(const Plan& plan, const Stage& stage) {
    const std::int64_t steps = stage.end_step - stage.first_step;
    const std::int64_t each =
        std::max<std::int64_t>(1, plan.total_steps / static_cast<std::int64_t>(svg::right - svg::left));
    std::vector<std::int64_t> out;
    for (std::int64_t step = 0; step < steps; step += each) out.push_back(stage.first_step + step);
    out.push_back(stage.end_step - 1);
    if (stage.schedule.warmup_steps < steps) out.push_back(stage.first_step + stage.schedule.warmup_steps);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

/// One group's line, a piece for each stretch of stages in which it trains.
std::string group_lines(const Plan& plan, const svg::Axes& axes, std::size_t g) {
    std::string path;
    for (const Stage& stage : plan.stages) {
        if (!stage.trainable[g]) continue;
        svg::Points points;
        for (const std::int64_t step : sampled_steps(plan, stage)) {
            points.push_back({axes.x(static_cast<double>(step)), axes.y(plan.learning_rate(g, step))});
        }
        points.push_back({axes.x(static_cast<double>(stage.end_step)), points.back()[1]});
        char command = 'M';
        for (const auto& [x, y] : svg::thinned(points)) {
            fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", command, x, y);
            command = 'L';
        }
    }
    if (path.empty()) return {};
    return fmt::format("<path class=\"line g{}\" d=\"{}\"><title>{}</title></path>\n", g, path,
                       escaped(plan.groups[g].name));
}

/// What stands above the stages: their names where all fit, else their numbers; nothing over a run of one stage.
std::string band_names(const Plan& plan, const svg::Axes& axes) {
    if (plan.stages.size() == 1) return {};
    const auto bounds = [&](const Stage& stage) {
        return std::pair{axes.x(static_cast<double>(stage.first_step)), axes.x(static_cast<double>(stage.end_step))};
    };
    const auto fits = [&](const Stage& stage, std::size_t characters) {
        const auto [from, to] = bounds(stage);
        return 7.0 * static_cast<double>(characters) < to - from;
    };
    const bool names = std::all_of(plan.stages.begin(), plan.stages.end(),
                                   [&](const Stage& stage) { return fits(stage, stage.name.size()); });
    std::string out;
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
        const std::string label = names ? plan.stages[s].name : fmt::format("{}", s + 1);
        if (!fits(plan.stages[s], label.size())) continue;
        const auto [from, to] = bounds(plan.stages[s]);
        out += fmt::format("<text class=\"small\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                           (from + to) / 2, svg::top - 8, escaped(label));
    }
    return out;
}

std::string bands(const Plan& plan, const svg::Axes& axes) {
    std::string out = "<g>\n";
    for (const Stage& stage : plan.stages) {
        const double from = axes.x(static_cast<double>(stage.first_step));
        const double to = axes.x(static_cast<double>(stage.end_step));
        out += fmt::format(
            "<rect class=\"band\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"><title>{}: steps {} to "
            "{}</title></rect>\n",
            from, svg::top, to - from, svg::bottom - svg::top, escaped(stage.name), stage.first_step,
            stage.end_step - 1);
    }
    return out + "</g>\n";
}

std::string axis_lines(const svg::Axes& axes) {
    std::vector<svg::Tick> rates;
    std::vector<svg::Tick> steps;
    for (const double rate : axes.rate_ticks()) rates.push_back({axes.y(rate), fmt::format("{:.3g}", rate)});
    for (const double step : axes.step_ticks()) steps.push_back({axes.x(step), grouped_digits(std::llround(step))});
    return svg::across(rates) + svg::foot(steps, "step");
}

std::string shortened(const std::string& name) {
    if (name.size() <= legend_name) return name;
    // The end of a parameter's name tells more than its middle.
    return name.substr(0, 6) + "..." + name.substr(name.size() - (legend_name - 9));
}

std::vector<std::size_t> named_groups(std::size_t groups) {
    const std::size_t count = std::min(groups, legend_entries);
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(count < 2 ? 0 : i * (groups - 1) / (count - 1));
    return out;
}

std::string legend(const Plan& plan, const std::vector<std::vector<RateRange>>& ranges) {
    const std::vector<std::size_t> named = named_groups(plan.groups.size());
    const std::size_t rows = (named.size() + legend_columns - 1) / legend_columns;
    const double column = (svg::right - svg::left) / legend_columns;
    std::string out;
    for (std::size_t i = 0; i < named.size(); ++i) {
        const std::size_t g = named[i];
        const double x = svg::left + column * static_cast<double>(i / rows);
        const double y = legend_top + legend_line * static_cast<double>(i % rows);
        const double peak = whole_run(ranges, g).peak;
        out += fmt::format("<line class=\"line g{}\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>\n", g, x, x + 16,
                           y - 4, y - 4);
        out += fmt::format("<text class=\"small\" x=\"{:.1f}\" y=\"{}\">{} {}<title>{}</title></text>\n", x + 22, y,
                           escaped(shortened(plan.groups[g].name)), peak > 0.0 ? fmt::format("{:.1e}", peak) : "frozen",
                           escaped(plan.groups[g].name));
    }
    return out;
}

}  // namespace

std::string plan_svg(const Plan& plan) {
    const auto ranges = rate_ranges(plan);
    const svg::Axes axes(plan, ranges);
    const std::size_t named = named_groups(plan.groups.size()).size();
    const double height = legend_top + legend_line * static_cast<double>((named + legend_columns - 1) / legend_columns);
    const auto counted = [](std::size_t count, std::string_view what) {
        return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
    };
    const std::string title = fmt::format(
        "Learning rate{}: policy {}, {}, {}, {} steps{}", axes.logarithmic() ? " (logarithmic)" : "",
        policy_name(plan.policy), counted(plan.groups.size(), "group"), counted(plan.stages.size(), "stage"),
        grouped_digits(plan.total_steps), named < plan.groups.size() ? fmt::format(" ({} groups named)", named) : "");
    std::string out = svg::opening(height, title, plan.groups.size());
    out += bands(plan, axes);
    out += band_names(plan, axes);
    out += axis_lines(axes);
    for (std::size_t g = 0; g < plan.groups.size(); ++g) out += group_lines(plan, axes, g);
    out += legend(plan, ranges);
    return out + "</svg>\n";
}

}  // namespace strata::optim
