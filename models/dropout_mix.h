// The arithmetic of the dropout masks (models/dropout.h), shared by the kernels, for host and device. No torch.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/target_clones.h"
#include "optim/host_device.h"

namespace strata::models {

inline constexpr std::uint32_t element_step = 0x9E3779B9U;  // 2^32 / golden ratio: neighbours start far apart

/// One row's key and what its site does: an element is kept when its hash is at least the threshold.
struct DropoutRow {
    std::uint64_t key;
    std::uint32_t threshold;  // probability * 2^32
    float scale;              // 1 / (1 - probability)
};

/// splitmix64's finaliser: a bijection whose output bits each depend on all input bits.
STRATA_HOST_DEVICE std::uint64_t mix64(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

STRATA_HOST_DEVICE std::uint64_t dropout_step_key_of(std::uint64_t seed, std::int64_t step) {
    return mix64(mix64(seed) ^ static_cast<std::uint64_t>(step));
}

STRATA_HOST_DEVICE std::uint64_t dropout_site_key_of(std::uint64_t step_key, std::int64_t site) {
    return mix64(step_key ^ static_cast<std::uint64_t>(site));
}

STRATA_HOST_DEVICE std::uint64_t dropout_sample_key_of(std::uint64_t site_key, std::int64_t sample_position) {
    return mix64(site_key ^ static_cast<std::uint64_t>(sample_position));
}

STRATA_HOST_DEVICE std::uint64_t dropout_row_key_of(std::uint64_t sample_key, std::int64_t token, std::int64_t head) {
    return mix64(sample_key ^ (static_cast<std::uint64_t>(token) | (static_cast<std::uint64_t>(head) << 40)));
}

STRATA_INLINE std::uint32_t dropout_threshold(double probability) {
    return static_cast<std::uint32_t>(std::fmin(std::floor(probability * 4294967296.0), 4294967295.0));
}

/// MurmurHash3's finaliser with the key's two halves, one before and one between its multiplications. For numbers or
/// vectors.
template <typename Unsigned>
STRATA_HOST_DEVICE Unsigned dropout_hash(std::uint64_t key, Unsigned element) {
    Unsigned h = element * element_step + static_cast<std::uint32_t>(key);
    h ^= h >> 16;
    h *= 0x85EBCA6BU;
    h ^= static_cast<std::uint32_t>(key >> 32);
    h ^= h >> 13;
    h *= 0xC2B2AE35U;
    h ^= h >> 16;
    return h;
}

STRATA_HOST_DEVICE float dropout_factor_of(const DropoutRow& row, std::uint32_t element) {
    return dropout_hash(row.key, element) >= row.threshold ? row.scale : 0.0F;
}

}  // namespace strata::models
