// Sums over the rows of [rows, columns] on a GPU, for the gradients of biases and the like, with the same bits at every
// run: no atomic operations, all orders fixed by the shape alone.
//
// A tile is up to `tile_rows` rows of 32 vectors of columns; its block has 8 groups of 32 threads. A thread owns one
// vector of columns and goes down every eighth row, summing in registers; the groups' sums are added in their order. A
// second launch adds up the tiles of a column, again in a fixed order. Columns are at most a few thousand, so what the
// tiles leave is small beside the data (one row in 64).
#pragma once

#include <cstdint>

#include "models/vectors.h"
#include "optim/kernel_team.h"

namespace strata::models {

inline constexpr int tile_groups = 8;
inline constexpr int tile_threads = tile_groups * optim::warp_threads;
inline constexpr std::int64_t default_tile_rows = 64;

/// Which tile a piece of the grid is. Where there are no rows one tile of none is left, whose sums are zero.
struct TileShape {
    std::int64_t rows, columns;
    std::int64_t tile_rows = default_tile_rows;

    STRATA_HOST_DEVICE std::int64_t row_tiles() const {
        const std::int64_t tiles = (rows + tile_rows - 1) / tile_rows;
        return tiles > 0 ? tiles : 1;
    }
    STRATA_HOST_DEVICE std::int64_t column_tiles(int vector) const {
        const std::int64_t wide = std::int64_t{optim::warp_threads} * vector;
        return (columns + wide - 1) / wide;
    }
    STRATA_HOST_DEVICE std::int64_t tiles(int vector) const { return row_tiles() * column_tiles(vector); }
};

/// What one thread has of a tile: its first column, and its rows.
struct TilePart {
    std::int64_t row_tile, column, row, last_row;
    static constexpr std::int64_t row_step = tile_groups;

    STRATA_HOST_DEVICE TilePart(const TileShape& shape, int vector, std::int64_t piece, int thread) {
        // Neighbouring blocks share rows: what they read lies together.
        const std::int64_t across = shape.column_tiles(vector);
        row_tile = piece / across;
        column = (piece % across * optim::warp_threads + thread % optim::warp_threads) * vector;
        row = row_tile * shape.tile_rows + thread / optim::warp_threads;
        const std::int64_t end = (row_tile + 1) * shape.tile_rows;
        last_row = end < shape.rows ? end : shape.rows;
        if (column >= shape.columns) last_row = row;  // a vector past the end has no rows
    }
};

/// A thread's sums, `count` for each of its columns.
template <int count, int vector>
struct ColumnTotals {
    float sum[count][vector];
};

/// The groups' sums of a tile. Padded so that the threads of a warp meet no bank of shared memory twice, neither
/// writing (neighbours have neighbouring vectors) nor reading (neighbouring columns).
template <int count, int vector>
struct TileSums {
    float sum[tile_groups][count][vector][optim::warp_threads + optim::warp_threads / vector];
};

/// Goes over a tile: rows(part) gives each thread's totals. Their sums over the groups are written to
/// to[row tile][count][columns], narrowed.
template <int count, int vector, typename Team, typename Rows, typename To>
STRATA_HOST_DEVICE void sum_tile(const Team& team, const TileShape& shape, std::int64_t piece,
                                 TileSums<count, vector>& shared, To* to, const Rows& rows) {
    constexpr int lanes = optim::warp_threads;
    team.each([&](int thread) {
        const ColumnTotals<count, vector> own = rows(TilePart(shape, vector, piece, thread));
        for (int s = 0; s < count; ++s) {
            for (int k = 0; k < vector; ++k) shared.sum[thread / lanes][s][k][thread % lanes] = own.sum[s][k];
        }
    });
    team.each([&](int thread) {
        const std::int64_t across = shape.column_tiles(vector);
        const std::int64_t row_tile = piece / across, first = piece % across * lanes * vector;
        for (int i = thread; i < count * vector * lanes; i += tile_threads) {
            // Neighbouring threads take neighbouring columns.
            const int s = i / (vector * lanes), column = i % (vector * lanes);
            if (first + column >= shape.columns) continue;
            float total = 0.0F;
            for (int group = 0; group < tile_groups; ++group) {
                total += shared.sum[group][s][column % vector][column / vector];
            }
            narrow(total, to[(row_tile * count + s) * shape.columns + first + column]);
        }
    });
}

/// Sums over rows of x itself, or of what tiles have left: to[row tile][columns].
template <typename From, typename To, int vector>
struct ColumnSumBody {
    static constexpr int team_threads = tile_threads, block_threads = tile_threads;
    using Shared = TileSums<1, vector>;

    TileShape shape;
    const From* from;
    To* to;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return shape.tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& shared) const {
        sum_tile<1, vector>(team, shape, piece, shared, to, [&](const TilePart& part) {
            ColumnTotals<1, vector> totals{};
            for (std::int64_t row = part.row; row < part.last_row; row += TilePart::row_step) {
                const Vector<From, vector> x = load<vector>(from + row * shape.columns + part.column);
                for (int k = 0; k < vector; ++k) totals.sum[0][k] += widen(x.lane[k]);
            }
            return totals;
        });
    }
};

/// What tiles have left, [row tiles, columns], added up: the second launch.
template <typename To>
ColumnSumBody<float, To, 1> sum_of_tiles(const float* tiles, std::int64_t row_tiles, std::int64_t columns, To* to) {
    return {{row_tiles, columns, row_tiles}, tiles, to};
}

}  // namespace strata::models
