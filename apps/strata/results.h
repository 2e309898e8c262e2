// Results as people and scripts read them: eval_* values and prediction lines.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "dist/communicator.h"

namespace strata::app {

/// eval_loss, the task's metrics, eval_samples, eval_runtime, … over the validation sets; a second set's names end in
/// its suffix ("eval_accuracy_mm"). Collective.
nlohmann::json evaluate_sets(const Config& config, const Experiment& experiment, dist::Communicator& communicator);

/// The metrics' names in that, before anything is evaluated.
std::vector<std::string> evaluation_names(const Config& config, const Experiment& experiment);

/// "eval_accuracy 0.9217 | eval_loss 0.2313 | …" for people.
std::string results_text(const nlohmann::json& results);

/// The test set's predictions as `file`, one object a line: {"index":0,"label":"positive","logits":[…]}. `label` is the
/// class as the training data wrote it (a number if it was one), or the predicted value of a regression. Collective.
void predict_test(const Config& config, const Experiment& experiment, const std::filesystem::path& file,
                  dist::Communicator& communicator);

}  // namespace strata::app
