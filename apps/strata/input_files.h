// The files that a run reads, for hosts that hold copies of their own to compare.
#pragma once

#include <string>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"

namespace strata::app {

/// A line for each file of the model, its tokenizer and the data: its path and the hash of its content. It reads them
/// all, a gigabyte in about half a second where they are in memory.
std::string input_files_text(const Config& config, const Experiment& experiment);

}  // namespace strata::app
