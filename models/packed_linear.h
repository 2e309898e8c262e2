// x Wᵀ + b for packed rows, with a backward pass that adds parameters' gradients to where they lie.
#pragma once

#include <torch/types.h>

#include <vector>

namespace strata::models {

/// x [T, in], weight [out, in], bias [out] or undefined. Differentiable once. backward() adds to the gradients of the
/// weight and the bias itself where they take it (parameter_gradient.h).
torch::Tensor packed_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// The same for layers that read the same x, [T, out_i] each. In backward x's gradient is made as one sum.
std::vector<torch::Tensor> packed_linears(const torch::Tensor& x, const std::vector<torch::Tensor>& weights,
                                          const std::vector<torch::Tensor>& biases);

}  // namespace strata::models
