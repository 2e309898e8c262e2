// Packed attention by LibTorch's flash-attention operator (Dao 2023, arXiv 2307.08691): on GPUs, in bf16 and fp16, all
// sequences in one call, no matrix of probabilities in memory.
//
// Its dropout is the operator's own: a Philox stream that whoever trains seeds once a step (seed_flash_attention), each
// call drawing on where the one before has ended. So no generator's state need be saved and a run repeats itself, and
// calls that were captured in a CUDA graph draw the same in a replay, where a generator cannot be seeded between them.
// But unlike packed_attention's other paths, a mask depends on how the batch is cut; and its backward pass adds in no
// fixed order unless torch is told to be deterministic.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

/// From here on the GPU's generator gives the numbers of a step, of which this rank's first sample has that place. Not
/// while a stream is captured. On the CPU nothing.
void seed_flash_attention(torch::Device device, const DropoutKey& key, std::int64_t first_position);

/// Whether the operator takes heads of that size: a multiple of 8 up to 256.
bool flash_attention_takes(std::int64_t head_size);

/// Whether it takes such tensors [T, heads * d]: on a GPU, 16-bit, with such heads.
bool flash_attention_can(const torch::Tensor& q, std::int64_t heads);

/// As packed_attention. Differentiable.
torch::Tensor flash_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout);

}  // namespace strata::models
