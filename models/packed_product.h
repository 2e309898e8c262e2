// The matrix products of linear layers over packed rows: by the room's own kernel (models/product_kernel.h) where there
// is one for the tensors at hand, else by LibTorch. None is differentiable.
#pragma once

#include <torch/types.h>

namespace strata::models {

/// x Wᵀ + bias: x [T, in], weight [out, in], bias [out] or undefined.
torch::Tensor forward_product(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// Σ grad_i W_i, the gradient of what several layers read: grads [T, out_i], weights [out_i, in]; one layer at least.
torch::Tensor input_product(at::TensorList grads, at::TensorList weights);

/// gradᵀ x [out, in], the gradient of a weight.
torch::Tensor weight_product(const torch::Tensor& grad, const torch::Tensor& x);
/// The same, added to `sum`.
void add_weight_product(const torch::Tensor& grad, const torch::Tensor& x, const torch::Tensor& sum);

}  // namespace strata::models
