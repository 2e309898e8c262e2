// x Wᵀ + b for packed rows, with a backward pass that adds the weight's gradient to where it lies.
#pragma once

#include <torch/types.h>

#include <vector>

namespace strata::models {

/// x [T, in], weight [out, in], bias [out] or undefined. Differentiable once. Where `weight` has a gradient already
/// (dist/group_storage.h binds them), backward() adds the product straight into it, without a matrix between; its
/// accumulation node runs all the same, with nothing to add.
torch::Tensor packed_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// The same for layers that read the same x, [T, out_i] each. In backward x's gradient is made as one sum.
std::vector<torch::Tensor> packed_linears(const torch::Tensor& x, const std::vector<torch::Tensor>& weights,
                                          const std::vector<torch::Tensor>& biases);

/// Whether the backward pass that is running may add to this parameter's gradient itself: the gradient is there, has
/// the parameter's type, and the pass is one that leaves gradients in parameters.
bool gradient_takes(const torch::Tensor& parameter);

}  // namespace strata::models
