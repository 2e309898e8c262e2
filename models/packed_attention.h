// Scaled dot-product self-attention over packed sequences: softmax(Q Kᵀ / sqrt(d)) V for every sequence and head, no
// padding computed, no mask needed.
//
// k and v are [T, heads * d]. q and the result are the same, or [B, heads * d]: then the sequences' first tokens alone
// ask, which is all that a classifier reads of its last layer. fp32 and bfloat16 on the CPU run our own kernel for
// sequences up to `short_sequence_limit` tokens, threaded over (head, sequence); on a GPU LibTorch's fused operators
// run if they may (fused_attention.h: their dropout is their own, and in fp32 they do compute padding); all else runs
// ATen matrix products sequence by sequence. Only q, k, v and one log-sum-exp a query and head are kept for backward:
// the probabilities and the dropout mask are computed again. Kernel and products use the same dropout keys
// (models/dropout.h), so they are interchangeable.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "models/dropout.h"
#include "models/fused_attention.h"
#include "models/packed_input.h"

namespace strata::models {

/// Measured with head sizes 32 and 64 on one and two threads: up to 512 tokens our kernel is at least 1.3 times as fast
/// as ATen's products. Beyond, its scratch (seven matrices of length x length a thread) is megabytes and leaves the
/// cache.
inline constexpr std::int64_t short_sequence_limit = 512;

/// What of it may be used, where shapes, type and device leave a choice.
struct AttentionPaths {
    bool fused = true;  ///< the fused operators: not where masks must be the CPU's and sums must have one order
    std::int64_t short_limit = short_sequence_limit;
    KeptAttention kept = {};  ///< of the fused operators, where the call is made twice
};

/// Differentiable in q, k and v. Head size must divide the width: STRATA_CHECK.
torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               std::int64_t heads, const LayoutPointer& layout,
                               const std::optional<DropoutSite>& dropout, const AttentionPaths& paths = {});

}  // namespace strata::models
