// The kernels' grids walked on the host: what a launch does, block after block, tile after tile, thread after thread.
#pragma once

#include "optim/tile_sums.h"
#include "optim/update_kernel.h"
#include "tests/support/grid_walk.h"

#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim::testing {

inline SumPair fold(std::vector<SumPair> shared) {
    const testing_support::HostTeam team(static_cast<int>(shared.size()));
    optim::fold(team, shared.data());
    return shared[0];
}

template <Pass pass, bool measure>
void walk_pass(const UpdateTables& tables, std::int64_t blocks, int threads) {
    std::vector<SumPair> shared(static_cast<std::size_t>(threads));
    for (std::int64_t block = 0; block < blocks; ++block) {
        for (std::int64_t tile = block; tile < tables.tile_count; tile += blocks) {
            for (int thread = 0; thread < threads; ++thread) {
                shared[static_cast<std::size_t>(thread)] = tile_body<pass, measure>(tables, tile, thread, threads);
            }
            if (measure) tables.tile_sums[tile] = fold(shared);
        }
    }
}

/// `measure` for passes that may but need not.
inline void walk(Pass pass, bool measure, const UpdateTables& tables, std::int64_t blocks, int threads) {
    switch (pass) {
        case Pass::adamw:
            return measure ? walk_pass<Pass::adamw, true>(tables, blocks, threads)
                           : walk_pass<Pass::adamw, false>(tables, blocks, threads);
        case Pass::adam:
            return measure ? walk_pass<Pass::adam, true>(tables, blocks, threads)
                           : walk_pass<Pass::adam, false>(tables, blocks, threads);
        case Pass::sgd:
            return measure ? walk_pass<Pass::sgd, true>(tables, blocks, threads)
                           : walk_pass<Pass::sgd, false>(tables, blocks, threads);
        case Pass::lamb_apply:
            return measure ? walk_pass<Pass::lamb_apply, true>(tables, blocks, threads)
                           : walk_pass<Pass::lamb_apply, false>(tables, blocks, threads);
        case Pass::lamb_moments:
            return walk_pass<Pass::lamb_moments, true>(tables, blocks, threads);
        case Pass::square_sum:
            return walk_pass<Pass::square_sum, true>(tables, blocks, threads);
    }
}

inline std::vector<double> walk_bins(const std::vector<SumPair>& tile_sums, const std::vector<std::int64_t>& first,
                                     int width, std::int64_t blocks) {
    const TileBins bins{first.data(), static_cast<std::int64_t>(first.size()) - 1};
    std::vector<double> out(static_cast<std::size_t>(bins.count * width), -1.0);
    for (std::int64_t block = 0; block < blocks; ++block) {
        for (std::int64_t bin = block; bin < bins.count; bin += blocks) {
            std::vector<SumPair> shared(kernel_threads);
            for (int thread = 0; thread < kernel_threads; ++thread) {
                shared[static_cast<std::size_t>(thread)] =
                    bin_body(tile_sums.data(), bins, bin, thread, kernel_threads);
            }
            store_bin(out.data(), bin, width, fold(shared));
        }
    }
    return out;
}

}  // namespace strata::optim::testing
