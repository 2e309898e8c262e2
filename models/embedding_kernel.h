// Rows of embedding tables, added up and, backward, scattered. Data is fp32 or bfloat16, sums fp32. No torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"

namespace strata::models {

/// out = (word + type) + position
void embedding_row(const float* word, const float* type, const float* position, float* out, std::int64_t n);
void embedding_row(const Bf16* word, const Bf16* type, const Bf16* position, Bf16* out, std::int64_t n);

/// The tokens that have one id: to[c] += the sum of grad[token * width + c] over them, for columns begin .. end. The
/// sum is made in their order and rounded once, to the type of `to`.
void scatter_row(const float* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count, float* to,
                 std::int64_t begin, std::int64_t end);
void scatter_row(const Bf16* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count, Bf16* to,
                 std::int64_t begin, std::int64_t end);
void scatter_row(const Bf16* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count, float* to,
                 std::int64_t begin, std::int64_t end);

}  // namespace strata::models
