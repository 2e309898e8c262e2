// LayerNorm(residual + dropout(x + bias)): what ends both halves of a transformer layer, in one pass over the rows.
//
// fp32 and bfloat16 on the CPU, and fp16 too on a GPU, run our kernels (models/norm_kernel.h, norm_grid.h), other types
// ATen's operators. Kept for backward: the sum and two numbers a row; the mask is made again. The gradients of gamma,
// beta and bias come out of the one pass backward, with the same bits for any number of threads.
#pragma once

#include <torch/types.h>

#include <optional>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

struct NormWeights {
    torch::Tensor gamma, beta;  // [width]
    double epsilon;
};

/// x and residual [T, width], bias [width]. Differentiable once, in all tensors.
torch::Tensor residual_norm(const torch::Tensor& x, const torch::Tensor& bias, const torch::Tensor& residual,
                            const NormWeights& weights, const LayoutPointer& layout,
                            const std::optional<DropoutSite>& dropout);

/// LayerNorm(x) by the same kernel.
torch::Tensor packed_norm(const torch::Tensor& x, const NormWeights& weights);

}  // namespace strata::models
