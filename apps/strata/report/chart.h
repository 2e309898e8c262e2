// One chart as HTML: an SVG that fits any width, for its lines are stretched and its words are HTML around it, with a
// title, a description, a legend or names at the ends of its lines, and a table of the same values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/strata/report/curves.h"
#include "optim/svg_scale.h"

namespace strata::app::report {

using optim::svg::Scale;

enum class Look { line, faint, bold, dots, marked, area };  ///< marked: a line with dots on it

struct Series {
    std::string name;
    std::string ink;  ///< the CSS class that gives its colour: "g3" for a group, "r0" for a run, "p1" for a phase
    Points points;    ///< updates made, value
    Look look = Look::line;
    Points base = {};  ///< of an area: its lower edge, at the same x; what it stands for is the height between them
    bool in_legend = true;
};

struct Guide {
    double value = 0;
    std::string label;
};

struct Chart {
    std::string title;
    std::string note = {};  ///< what the values are, in a sentence
    std::vector<Series> series;
    double last_step = 1;
    std::optional<Scale> scale = std::nullopt;  ///< none: scale_of its own values
    std::vector<StageSpan> stages = {};         ///< shaded; none for a run of one stage
    std::vector<Guide> guides = {};
    std::vector<double> skipped = {};  ///< updates by which one had been skipped since the last logged
    bool alone = true;                 ///< else one of a row, which has the legend and says that it is logarithmic
    bool end_names = false;            ///< names at the ends of the lines, where there is room
};

/// How the values' axis is chosen. `peaks`: by the highest value of each series alone, for curves that begin or end at
/// 0, as rates do; what is less than a tenth of the lowest peak then lies on the ground.
enum class Spread { values, peaks };

/// Logarithmic where values differ by more than optim::svg::linear_span, else linear with round ends. Guides are
/// within.
Scale scale_of(const std::vector<const Series*>& series, const std::vector<Guide>& guides, Spread spread);

/// For values that are stacked: a logarithm would lie about their heights.
Scale linear_from_zero(const std::vector<const Series*>& series);

/// The legend of a chart, or of a row of charts alike.
std::string legend_html(const Chart& chart);

/// `id` is unique on the page.
std::string chart_html(const Chart& chart, const std::string& id);

/// Points a series may have, so that a chart of many stays small: the stretches for decimated().
std::size_t buckets_for(std::size_t series);

}  // namespace strata::app::report
