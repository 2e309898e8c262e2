// Which type the network computes in: --bf16, --fp16, --tf32, which mean what they mean to transformers.
#pragma once

#include <string>

#include "apps/strata/config.h"
#include "optim/compute_type.h"

namespace strata::app {

/// UserError where the flags contradict one another or ask for what the model or this machine cannot do.
void check_precision(const Config& config);

/// "auto" settled by the processor of this process.
optim::ComputeType compute_type(const Config& config);

/// Puts the answer in the place of "auto", so that a run's configuration says what it did, and returns a line that says
/// what was chosen and why; empty for plain fp32.
std::string settle_precision(Config& config);

}  // namespace strata::app
