// Dropout whose mask is a pure function of where an element stands, not of who computes it or when.
//
// keep(seed, step, site, sample position in the global batch, token in its sequence, head, element): so masks are equal
// for any number of ranks, any micro-batching, any threads; there is no generator state to save in a checkpoint; and
// backward stores nothing: it computes the same mask again. The mixing is a 32-bit finaliser in the manner of
// MurmurHash3 (A. Appleby, public domain), keyed twice by 64 bits that a splitmix64 chain (S. Vigna, public domain)
// makes for each row.
//
// Kept values are scaled by 1/(1-p). With p = 0 nothing is done at all and the input itself comes back.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

#include "models/packed_input.h"

namespace strata::models {

/// One for each optimizer step; absent (std::nullopt) means evaluation: no dropout anywhere.
struct DropoutKey {
    std::uint64_t seed;
    std::int64_t step;
    torch::Tensor there = {};  ///< step_key_tensor(), on the GPU that makes masks: kernels read it there
};

/// What a step's masks are keyed by: int64 [1].
torch::Tensor step_key_tensor(const DropoutKey& key);

/// The key for passes on `device`.
DropoutKey key_on(DropoutKey key, torch::Device device);

/// A place in the network that drops with probability p in [0, 1). No two places share an id.
struct DropoutSite {
    DropoutKey key;
    std::int64_t id;
    double probability;
};

/// The same value for every element of one sample at one site.
std::uint64_t dropout_sample_key(const DropoutSite& site, std::int64_t sample_position);

/// The key of a row: a token's hidden values (head 0), or a query's attention probabilities in one head.
std::uint64_t dropout_row_key(std::uint64_t sample_key, std::int64_t token, std::int64_t head);

/// 0 or 1/(1-p) for each of the row's elements; the definition, one element at a time.
float dropout_factor(const DropoutSite& site, std::uint64_t row_key, std::int64_t element);

/// The factors for a tensor [T, width] (fp32).
torch::Tensor dropout_factors(const PackedLayout& layout, std::int64_t width, const DropoutSite& site);

/// The factors for one sequence's attention probabilities [heads, length, length] (fp32).
torch::Tensor attention_dropout_factors(const DropoutSite& site, std::int64_t sample_position, std::int64_t heads,
                                        std::int64_t length);

/// `x` [T, width] after dropout. Without a site, or with probability 0, `x` itself. Differentiable.
torch::Tensor packed_dropout(const torch::Tensor& x, const LayoutPointer& layout,
                             const std::optional<DropoutSite>& site);

}  // namespace strata::models
