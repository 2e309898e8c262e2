// Flags of transformers' Trainer and its example scripts that strata does not have, and what to do without them.
#pragma once

#include <string_view>

namespace strata::app {

/// What stands in place of the flag `name` (with underscores), a sentence's end: "inputs are tokenized before the run:
/// leave it out". Empty for names that Trainer does not have either, or for which there is nothing to say.
std::string_view instead_of_trainer_flag(std::string_view name);

}  // namespace strata::app
