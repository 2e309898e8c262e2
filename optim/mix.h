// Randomness without state, for host and device alike: keys are made of what a number is for (a seed, a step, a name),
// and numbers are hashes of a key and a counter. So they depend on no thread, rank or order, and nothing is saved.
#pragma once

#include "optim/host_device.h"

#include <cstdint>
#include <string_view>

namespace strata::optim {

/// splitmix64's finaliser: a bijection whose output bits each depend on all input bits.
STRATA_HOST_DEVICE std::uint64_t mix64(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

/// The key of one of a seed's uses: a step's, a name's.
STRATA_HOST_DEVICE std::uint64_t seeded_key(std::uint64_t seed, std::uint64_t use) {
    return mix64(mix64(seed) ^ use);
}

/// Of a parameter's name: FNV-1a, 64 bits.
inline std::uint64_t name_key(std::string_view name) {
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    return hash;
}

/// An element's 32 bits: MurmurHash3's finaliser with the key's two halves, one before and one between its
/// multiplications. For numbers or vectors.
template <typename Unsigned>
STRATA_HOST_DEVICE Unsigned element_hash(std::uint64_t key, Unsigned element) {
    constexpr std::uint32_t step = 0x9E3779B9U;  // 2^32 / golden ratio: neighbours start far apart
    Unsigned h = element * step + static_cast<std::uint32_t>(key);
    h ^= h >> 16;
    h *= 0x85EBCA6BU;
    h ^= static_cast<std::uint32_t>(key >> 32);
    h ^= h >> 13;
    h *= 0xC2B2AE35U;
    h ^= h >> 16;
    return h;
}

}  // namespace strata::optim
