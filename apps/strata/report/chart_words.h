// The words around a chart's drawing, placed by shares of its width and height.
#pragma once

#include <string>

#include "apps/strata/report/chart.h"

namespace strata::app::report {

/// The heading, what the values are, and the legend.
std::string caption(const Chart& chart, bool logarithmic);

/// What the drawing shows, in a sentence, for who cannot see it.
std::string description(const Chart& chart);

std::string value_ticks(const Scale& values);
std::string step_ticks(const Scale& steps);
std::string stage_names(const Chart& chart, const Scale& steps);
std::string guide_names(const Chart& chart, const Scale& values);

/// Each line's name at the height of its end, moved apart where they would touch; none for more than fit.
std::string end_names(const Chart& chart, const Scale& values);

/// The first, lowest, highest and last value of each series, folded.
std::string value_table(const Chart& chart);

}  // namespace strata::app::report
