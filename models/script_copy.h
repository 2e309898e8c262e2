// A module that owns its memory: what can be saved while the original's parameters are views of a larger arena, of
// which torch would write the whole (and its own deepcopy takes views of one arena for one tensor).
#pragma once

#include <torch/script.h>

namespace strata::models {

/// The same code, every tensor copied. Modules and tensors that the original has in two places are one in the copy too.
torch::jit::Module copy_of_module(const torch::jit::Module& module);

}  // namespace strata::models
