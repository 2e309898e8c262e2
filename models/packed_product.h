// The matrix products of linear layers over packed rows: by the processor's fastest kernel (models/product_kernel.h),
// or the one that is given, if it takes the tensors at hand, else by LibTorch, on a CPU in fp32. None is
// differentiable.
#pragma once

#include <torch/types.h>

#include "models/product_kernel.h"

namespace strata::models {

/// x Wᵀ + bias: x [T, in], weight [out, in], bias [out] or undefined.
torch::Tensor forward_product(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                              const ProductKernel* kernel = fastest_products());

/// Σ grad_i W_i, the gradient of what several layers read: grads [T, out_i], weights [out_i, in]; one layer at least.
torch::Tensor input_product(at::TensorList grads, at::TensorList weights,
                            const ProductKernel* kernel = fastest_products());

/// gradᵀ x [out, in], the gradient of a weight.
torch::Tensor weight_product(const torch::Tensor& grad, const torch::Tensor& x,
                             const ProductKernel* kernel = fastest_products());
/// The same into `out`, or added to it; `out` may be fp32 where grad and x are bfloat16.
void weight_product_into(const torch::Tensor& out, bool adds, const torch::Tensor& grad, const torch::Tensor& x,
                         const ProductKernel* kernel = fastest_products());

}  // namespace strata::models
