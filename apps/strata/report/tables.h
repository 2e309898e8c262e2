// The tables of a report.
#pragma once

#include <string>

#include "apps/strata/report/run_charts.h"

namespace strata::app::report {

/// What a run came to, as large figures: metrics, loss, time.
std::string result_tiles(const RunRecord& run);

/// The same of several runs, a row each, the best of each column marked.
std::string comparison_table(const Runs& runs);

/// Groups with their counts, multipliers, decay and thawing; rates by stage; what stages cost. Empty without plan.json.
std::string plan_tables(const RunRecord& run);

/// One run: the keys that are not at their defaults. Several: those that differ. All keys, folded.
std::string config_tables(const Runs& runs);

}  // namespace strata::app::report
