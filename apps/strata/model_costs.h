// What a model and its data add to the memory that a plan alone knows.
#pragma once

#include <cstdint>
#include <optional>

#include "apps/strata/config.h"
#include "optim/plan_output.h"

namespace strata::app {

/// For the BERT in model_name_or_path, from its config.json alone; nothing for a plan without such a model. `samples`
/// is the number of training samples, if it is known.
std::optional<optim::ModelCosts> model_costs(const Config& config, const optim::Plan& plan,
                                             std::optional<std::int64_t> samples);

}  // namespace strata::app
