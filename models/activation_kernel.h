// Bias and activation in one pass: y = f(x + bias), and backward the gradient of x with its sum over rows, which is the
// bias's. GELU is x Φ(x) (D. Hendrycks, K. Gimpel, arXiv 1606.08415), or its approximation by tanh. Data is fp32 or
// bfloat16, arithmetic fp32. No torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"

namespace strata::models {

enum class ActivationKind { gelu, gelu_tanh, relu };

void activation_row(ActivationKind kind, const float* x, const float* bias, float* y, std::int64_t n);
void activation_row(ActivationKind kind, const Bf16* x, const Bf16* bias, Bf16* y, std::int64_t n);

/// Adds the gradient of x to `bias_sums`.
void activation_backward_row(ActivationKind kind, const float* grad_y, const float* x, const float* bias, float* grad_x,
                             float* bias_sums, std::int64_t n);
void activation_backward_row(ActivationKind kind, const Bf16* grad_y, const Bf16* x, const Bf16* bias, Bf16* grad_x,
                             float* bias_sums, std::int64_t n);

/// sums[i] += x[i]
void add_row(const float* x, float* sums, std::int64_t n);
void add_row(const Bf16* x, float* sums, std::int64_t n);
void add_row(const float* x, Bf16* sums, std::int64_t n);

}  // namespace strata::models
