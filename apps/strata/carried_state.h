// What a run that goes on takes from its checkpoint, in words: said before training goes on, so that no rate, group or
// moment changes in silence.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dist/state_load.h"
#include "optim/optimizer.h"

namespace strata::app {

/// Why moments that `saved` made are none that `now` goes on from; empty where they are.
std::string foreign_moments(optim::OptimizerKind saved, optim::OptimizerKind now);

/// The optimizer of a saved configuration (to_toml's text).
optim::OptimizerKind saved_optimizer(const std::string& effective_config);

/// Everything that is not as it was: `config_changes` (config_changes.h), multipliers and decays of groups that keep
/// their names, groups made of others, and what `report` says was not carried, each reason once with its names. Whole
/// lines; empty where the run goes on as if nothing had happened.
std::string carried_text(const std::string& config_changes, std::span<const dist::StoredGroup> saved,
                         std::span<const dist::StateGroup> now, const dist::StateLoadReport& report);

}  // namespace strata::app
