// Which charts a report has, drawn from the records of one run or of several.
//
// Several runs lie over one another; where a run alone fills a chart with its groups or phases, each has a small one of
// its own, all on one scale. A section is empty where no run has logged what it shows.
#pragma once

#include <string>
#include <vector>

#include "apps/strata/report/chart.h"
#include "apps/strata/report/run_record.h"

namespace strata::app::report {

using Runs = std::vector<RunRecord>;

/// Loss, evaluation metrics, the global gradient norm.
std::string learning_charts(const Runs& runs);

/// Rates, gradient and weight norms, updates over weights: a line a group.
std::string group_charts(const Runs& runs);

/// Time by phase, tokens a second.
std::string time_charts(const Runs& runs);

// What these share:

/// The CSS class that gives a run its colour: "r0", "r1", …; colours repeat after `run_colours`.
std::string run_ink(std::size_t run);
inline constexpr std::size_t run_colours = 6;

/// The CSS class that gives a group its colour, "n8g3" for the fourth of eight from the input.
std::string group_ink(std::size_t group, std::size_t groups);

/// Charts alike, one for each run: a single one as it is, with the row's title and note; several side by side, on the
/// first's scale, under one heading and legend.
std::string row_of_charts(const std::string& title, const std::string& note, std::vector<Chart> charts,
                          const std::string& id);

/// Where a small chart's steps end: at the longest run's end, so that runs compare, unless this one would be too short
/// to see.
double last_step_in_row(const Runs& runs, const RunRecord& run);

/// The span of the moving average that shows where noisy values go, 0 where there are too few to need one.
std::size_t smoothing_span(const Runs& runs);

double last_step(const Runs& runs);

/// Shaded where there are several stages, and over several runs only where all have the same.
std::vector<StageSpan> shared_stages(const Runs& runs);

/// The points of one logged number, fit for a chart of so many series.
Points drawn(const RunRecord& run, const Column& values, std::size_t series);

/// Says so where drawn() leaves points out of a chart of these runs.
std::string thinning_note(const Runs& runs, std::size_t series);

/// " Line: a moving average over about 100 logged updates."
std::string smoothing_note(std::size_t span, const char* what);

/// A chart of one number that each logged line has, a line a run, smoothed over the values where they are many; none
/// where no run has it.
std::string number_chart(const Runs& runs, const std::string& key, Chart chart, const std::string& id);

/// True for what an evaluation says of the model, rather than of the machine or the data's size.
bool is_metric(const std::string& key);

/// "eval_matthews_correlation" as "Matthews correlation".
std::string metric_title(const std::string& key);

}  // namespace strata::app::report
