// Packed attention by LibTorch's flash-attention operator (Dao 2023, arXiv 2307.08691): on GPUs, in bf16 and fp16, all
// sequences in one call, no matrix of probabilities in memory.
//
// Its dropout is the operator's own: a Philox stream whose seed is made of the site's key and the first sample's place,
// so no generator's state need be saved and a run repeats itself. But unlike packed_attention's other paths, a mask
// depends on how the batch is cut; and its backward pass adds in no fixed order unless torch is told to be
// deterministic.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models {

/// Whether the operator takes such tensors [T, heads * d]: on a GPU, 16-bit, d a multiple of 8 up to 256.
bool flash_attention_can(const torch::Tensor& q, std::int64_t heads);

/// As packed_attention. Differentiable.
torch::Tensor flash_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout);

}  // namespace strata::models
