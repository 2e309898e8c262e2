// From a configuration's stages to the plan's: where each begins and ends, which groups train, at which rates.
#pragma once

#include "optim/plan.h"

#include <vector>

namespace strata::optim {

/// Stages without gaps over all steps of the run. A stage that ends within a step takes the whole step. Throws
/// UserError for a stage that trains nothing, names no group of the plan, freezes more groups than there are, says a
/// thing in two ways, warms up for longer than it lasts, has no step; and for stages that are together longer or
/// shorter than the run.
std::vector<Stage> make_stages(const PlanConfig& config, const std::vector<Group>& groups);

}  // namespace strata::optim
