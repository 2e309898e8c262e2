// How a group's elements are shared out: rank r of N owns the r-th slice of every group. Slices are of one stride,
// rounded up to an alignment that keeps collectives and vector loads fast; the last ones may be short or empty.
// Lengths and offsets are elements of the group's logical content; padding exists in memory only, never in a file.
#pragma once

#include <algorithm>
#include <cstdint>

namespace strata::optim {

struct Slice {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    constexpr std::int64_t size() const { return end - begin; }
    friend constexpr bool operator==(const Slice&, const Slice&) = default;
};

inline constexpr std::int64_t slice_alignment = 64;  // elements: 256 bytes of fp32

/// Elements from one rank's slice to the next: ceil(elements / ranks), rounded up to slice_alignment.
constexpr std::int64_t slice_stride(std::int64_t elements, int ranks) {
    const std::int64_t each = (elements + ranks - 1) / ranks;
    return (each + slice_alignment - 1) / slice_alignment * slice_alignment;
}

/// Elements of a buffer that holds every rank's slice at its full stride.
constexpr std::int64_t padded_elements(std::int64_t elements, int ranks) {
    return slice_stride(elements, ranks) * ranks;
}

/// The part of the logical content that `rank` owns; empty where the content ends before it.
constexpr Slice slice_of(std::int64_t elements, int rank, int ranks) {
    const std::int64_t stride = slice_stride(elements, ranks);
    const std::int64_t begin = std::min(elements, rank * stride);
    return {begin, std::min(elements, begin + stride)};
}

}  // namespace strata::optim
