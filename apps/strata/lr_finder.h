// A learning-rate range test (optim/range_test.h) of a model on its training data, by the training's own steps.
//
// The model is afterwards what it was, bit for bit: parameters, their gradients, buffers, random state. The test has
// moments of its own, beginning at zero; those of a training that is under way with the same model are not touched.
#pragma once

#include <optional>
#include <string>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "apps/strata/stop_signal.h"
#include "apps/strata/train_plan.h"
#include "apps/strata/training_log.h"
#include "dist/communicator.h"
#include "optim/range_test.h"

namespace strata::app {

/// Tests a stage of `plan`: all its groups together, or one (optim::range_test_plan). Nothing when a signal ended it.
/// Throws AgreedUserError when the very first loss is no number. Collective; the same on every rank.
std::optional<optim::RangeTest> find_rates(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                                           const RunLength& length, const std::string& group,
                                           dist::Communicator& communicator, dist::Communicator* gpus,
                                           const StopSignal& stop, Progress& bar);

}  // namespace strata::app
