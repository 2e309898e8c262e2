// The data files of a configuration, read as the experiment's model takes them.
#pragma once

#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"

namespace strata::app {

/// The files that `path` stands for: itself, or several where the task's split has several.
std::vector<data::SplitFile> files_of(const Config& config, const std::string& path, data::Split split);

/// Throws UserError, saying what to name there, for an option that is not set.
void require_option(const std::string& value, const char* name, const char* what);

/// Reads train_file, validation_file and test_file. What says how to read them (labels and tokenizer, or images) is
/// there already; for images that have no labels yet, the numbers below the model's outputs become them.
void load_training_data(const Config& config, Experiment& experiment);

/// Reads the file to measure on, or, where no labels are needed, the one to predict. Images as above.
void load_inference_data(const Config& config, Experiment& experiment, bool needs_labels);

/// Columns of what the model gives for such an input.
std::int64_t outputs_of(models::Model& model, const models::Input& input);

/// "0", "1", …
std::vector<std::string> numbered_labels(std::int64_t count);

}  // namespace strata::app
