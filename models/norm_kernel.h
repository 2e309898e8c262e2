// LayerNorm of a residual sum, row by row: s = residual + dropout(x + bias), y = (s - mean) / deviation * gamma + beta
// (J. Ba et al., arXiv 1607.06450). Data is fp32 or bfloat16, arithmetic and sums over rows fp32. No torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"
#include "models/dropout_mix.h"

namespace strata::models {

template <typename T>
struct NormRow {
    std::int64_t width;
    const DropoutRow* dropout;  // null: none
    float mean, inverse_deviation;
};

/// Writes the sum to `s` and sets the row's mean and inverse deviation, which are those of `s` as stored. Without `x`,
/// `residual` is the sum, and `s` is not touched.
void norm_row(NormRow<float>& row, const float* x, const float* bias, const float* residual, float epsilon,
              const float* gamma, const float* beta, float* s, float* y);
void norm_row(NormRow<Bf16>& row, const Bf16* x, const Bf16* bias, const Bf16* residual, float epsilon,
              const Bf16* gamma, const Bf16* beta, Bf16* s, Bf16* y);

/// Sums over rows that a block of rows adds to: gradients of gamma, beta and bias, each [width].
struct NormSums {
    float *gamma, *beta, *bias;
};

/// From the gradient of y: those of the residual and of x. `grad_x` is null where nobody wants it.
void norm_backward_row(const NormRow<float>& row, const float* grad_y, const float* s, const float* gamma,
                       float* grad_residual, float* grad_x, const NormSums& sums);
void norm_backward_row(const NormRow<Bf16>& row, const Bf16* grad_y, const Bf16* s, const Bf16* gamma,
                       Bf16* grad_residual, Bf16* grad_x, const NormSums& sums);

}  // namespace strata::models
