// Dropout of one row of floats. No torch, so that the file compiles for several processor levels.
#pragma once

#include <cstdint>

#include "models/dropout_mix.h"

namespace strata::models {

/// out[i] = factor(i)
void dropout_factors_row(const DropoutRow& row, float* out, std::int64_t n);

/// out[i] = factor(i) * x[i]
void dropout_row(const DropoutRow& row, const float* x, float* out, std::int64_t n);

/// out[i] = residual[i] + factor(i) * x[i]
void dropout_add_row(const DropoutRow& row, const float* x, const float* residual, float* out, std::int64_t n);

}  // namespace strata::models
