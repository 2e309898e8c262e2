// Attention in bfloat16 by the room's own matrix products (models/product_kernel.h): queries, keys, values and results
// where they lie, scores in fp32; probabilities and the gradients of scores are rounded to bfloat16 before they are
// multiplied, as FlashAttention does (T. Dao, arXiv 2307.08691). Arguments as in models/attention_kernel.h. No torch.
#pragma once

#include <cstdint>

#include "models/attention_kernel.h"

namespace strata::models {

/// Whether this processor does it, and for heads of this size.
bool attention_products_can(std::int64_t head_size);

void attention_products_forward(const AttentionProblem<Bf16>& problem, Bf16* out, float* log_sum_exp,
                                std::int64_t begin, std::int64_t end);

void attention_products_backward(const AttentionProblem<Bf16>& problem, const Bf16* grad_out, const float* log_sum_exp,
                                 Bf16* grad_q, Bf16* grad_k, Bf16* grad_v, std::int64_t begin, std::int64_t end);

}  // namespace strata::models
