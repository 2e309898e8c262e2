// An experiment with a --torchscript module.
#pragma once

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"

namespace strata::app {

Experiment load_script_for_training(const Config& config);
Experiment load_script_for_inference(const Config& config, bool needs_labels);

}  // namespace strata::app
