// Packed attention by LibTorch's fused operators, on GPUs: all sequences in one call, no matrix of probabilities in
// memory. 16-bit heads of up to 256 take flash attention (T. Dao, arXiv 2307.08691) over the tokens as they lie; fp32
// and wider heads take memory-efficient attention (M. Rabe, C. Staats, arXiv 2112.05682), which makes each fp32 product
// of three in TF32, whatever --tf32 says.
//
// The latter is given sequences padded to one length, a mask, and no borders: with borders LibTorch 2.11, by its
// source, drops one pattern in all heads and sequences, and others in the backward pass (_efficient_attention_forward
// then takes max_seqlen_k to be 0, and offsets into the random numbers are products of it). What is kept for backward
// is packed.
//
// Dropout is the operators' own: a Philox stream that whoever trains seeds once a step (seed_fused_attention), each
// call drawing on where the one before has ended. So no generator's state need be saved and a run repeats itself, and
// calls that were captured in a CUDA graph draw the same in a replay, where a generator cannot be seeded between them.
// A layer that is computed again (recomputed.h) has its attention once all the same: what the operator made is kept.
// But unlike packed_attention's other paths, a mask depends on how the batch is cut; and their backward passes add in
// no fixed order. So a deterministic training does without them (Model::set_ordered_sums).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

/// From here on the GPU's generator gives the numbers of a step, of which this rank's first sample has that place. Not
/// while a stream is captured. On the CPU nothing.
void seed_fused_attention(torch::Device device, const DropoutKey& key, std::int64_t first_position);

/// Whether the operators take heads of that size: a multiple of 8.
bool fused_attention_takes(std::int64_t head_size);

/// Whether they take such tensors [T, heads * d]: on a GPU, fp32 or 16-bit, with such heads.
bool fused_attention_can(const torch::Tensor& q, std::int64_t heads);

/// All that an operator makes of queries, keys and values.
struct AttentionOutcome {
    torch::Tensor out;           // as the queries are
    torch::Tensor log_sum_exp;   // fp32, as the operator has it
    torch::Tensor seed, offset;  // of its masks, as the operator has them
};

/// What the first of two calls with equal inputs leaves to the second, which takes it and calls no operator.
using KeptAttention = std::shared_ptr<AttentionOutcome>;

/// As packed_attention. Differentiable.
torch::Tensor fused_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const LayoutPointer& layout,
                              const std::optional<DropoutSite>& dropout, const KeptAttention& kept = nullptr);

}  // namespace strata::models
