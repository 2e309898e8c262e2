// Sums over tiles in two stages, each in a fixed order, so that a GPU gives the same bits at every run: the threads of
// a block fold their parts of a tile's sums in a tree, and then one block adds up the tiles of a bin (a group, or a
// tensor), however many bins there are in one launch. Bodies for host and device, as update_kernel.h's.
//
// The order is not that of the CPU's sums: the two agree to rounding in double.
#pragma once

#include "optim/host_device.h"
#include "optim/update_kernel.h"

#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim {

/// Which tiles a bin has: [first[b], first[b + 1]). Neighbouring spans' tiles are neighbours, so bins are runs of
/// tiles.
struct TileBins {
    const std::int64_t* first = nullptr;  // count + 1
    std::int64_t count = 0;
};

/// `first` of bins that are the plan's groups, or its tensors. Spans must be in the order of their bins, as
/// build_spans has them; bins without a span get no tile.
std::vector<std::int64_t> group_bins(std::span<const UpdateSpan> spans, std::size_t groups);
std::vector<std::int64_t> tensor_bins(std::span<const UpdateSpan> spans, std::size_t tensors);

/// A step of kernel_team.h's fold.
STRATA_HOST_DEVICE void fold_step(SumPair* sums, int thread, int half) {
    if (thread >= half) return;
    sums[thread].first += sums[thread + half].first;
    sums[thread].second += sums[thread + half].second;
}

/// One thread's part of a bin's sums.
STRATA_HOST_DEVICE SumPair bin_body(const SumPair* tile_sums, const TileBins& bins, std::int64_t bin, int thread,
                                    int threads) {
    SumPair sums;
    for (std::int64_t tile = bins.first[bin] + thread; tile < bins.first[bin + 1]; tile += threads) {
        sums.first += tile_sums[tile].first;
        sums.second += tile_sums[tile].second;
    }
    return sums;
}

/// Stores a bin's sums: `width` of them, 1 or 2, for each bin.
STRATA_HOST_DEVICE void store_bin(double* out, std::int64_t bin, int width, const SumPair& sums) {
    out[bin * width] = sums.first;
    if (width == 2) out[bin * 2 + 1] = sums.second;
}

}  // namespace strata::optim
