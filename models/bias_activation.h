// f(x + bias) in one pass; backward computes from x again, and the bias's gradient on the way.
#pragma once

#include <torch/types.h>

#include "models/activation_kernel.h"

namespace strata::models {

/// x [T, width], bias [width]. Keeps x and bias. Differentiable once; fp32 and bfloat16 on the CPU, and fp16 too on
/// a GPU, run our kernels, other types ATen's operators.
torch::Tensor bias_activation(const torch::Tensor& x, const torch::Tensor& bias, ActivationKind kind);

}  // namespace strata::models
