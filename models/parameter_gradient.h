// Gradients of parameters that go straight to where they lie, without a tensor between.
#pragma once

#include <torch/types.h>

namespace strata::models {

/// Whether the backward pass that is running may add to this parameter's gradient itself: the gradient is there
/// (dist/group_storage.h binds them), contiguous and of the parameter's type, or on a CPU fp32 for bfloat16 (where
/// micro-batches add up), and the pass is one that leaves gradients in parameters. The parameter's accumulation node
/// runs all the same, with nothing to add.
bool gradient_takes(const torch::Tensor& parameter);

}  // namespace strata::models
