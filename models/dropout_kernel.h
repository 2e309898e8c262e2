// Dropout of one row. No torch, so that the file compiles for several processor levels.
#pragma once

#include <cstdint>

#include "models/bf16.h"
#include "models/dropout_mix.h"

namespace strata::models {

/// out[i] = factor(i)
void dropout_factors_row(const DropoutRow& row, float* out, std::int64_t n);

/// out[i] = factor(i) * x[i]
void dropout_row(const DropoutRow& row, const float* x, float* out, std::int64_t n);
void dropout_row(const DropoutRow& row, const Bf16* x, Bf16* out, std::int64_t n);

}  // namespace strata::models
