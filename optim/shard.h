// How a group's elements are shared out: rank r of N owns the r-th slice of every group. Slices are of one stride,
// rounded up to an alignment that keeps collectives and vector loads fast, or to whole tiles of the sums that must not
// depend on the number of ranks; the last slices may be short or empty.
// Lengths and offsets are elements of the group's logical content; padding exists in memory only, never in a file.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/round_up.h"

namespace strata::optim {

struct Slice {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    constexpr std::int64_t size() const { return end - begin; }
    friend constexpr bool operator==(const Slice&, const Slice&) = default;
};

inline constexpr std::int64_t slice_alignment = 64;  // elements: 256 bytes of fp32

/// A deterministic run's tile: small enough that small groups are not padded to many times their size, large enough
/// that a sum for each tile costs little.
inline constexpr std::int64_t deterministic_tile = 4096;
static_assert(deterministic_tile % slice_alignment == 0);

/// Elements from one rank's slice to the next: ceil(elements / ranks), rounded up to the alignment.
constexpr std::int64_t slice_stride(std::int64_t elements, int ranks, std::int64_t alignment = slice_alignment) {
    return round_up((elements + ranks - 1) / ranks, alignment);
}

/// Elements of a buffer that holds every rank's slice at its full stride.
constexpr std::int64_t padded_elements(std::int64_t elements, int ranks, std::int64_t alignment = slice_alignment) {
    return slice_stride(elements, ranks, alignment) * ranks;
}

/// The part of the logical content that `rank` owns; empty where the content ends before it.
constexpr Slice slice_of(std::int64_t elements, int rank, int ranks, std::int64_t alignment = slice_alignment) {
    const std::int64_t stride = slice_stride(elements, ranks, alignment);
    const std::int64_t begin = std::min(elements, rank * stride);
    return {begin, std::min(elements, begin + stride)};
}

}  // namespace strata::optim
