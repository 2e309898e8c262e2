// Rows of embedding tables on a GPU, added up and, backward, scattered (models/embedding_kernel.h is the CPU's): the
// bodies of the grids, walked on the host by a test. Data is fp32, bfloat16 or fp16, sums fp32. No torch.
//
// Backward, a table's tokens come sorted by id, and each id's are summed in an order that the sorted ids alone decide:
// chunks of 32 tokens add up apart; an id that goes on past its chunk leaves its parts in `edges`, which a second
// launch adds up in the order of chunks. So a table of two rows is as fast as one of thirty thousand, and no sum
// depends on which thread came first.
#pragma once

#include <cstdint>
#include <cstdio>

#include "models/column_tile.h"
#include "models/row_vectors.h"

namespace strata::models {

/// out = (word + type) + position, [rows, width].
template <typename T>
struct EmbeddingForward {
    struct Table {
        const T* data;
        std::int64_t rows;
        const std::int64_t* ids;  // [rows of `out`]
    };
    std::int64_t rows, width;
    Table words, types, positions;
    T* out;
};

inline constexpr std::int64_t chunk_tokens = 32;

/// to[id] += the sum of grad[token] over the tokens that have the id, but for the id `skipped`.
template <typename T>
struct EmbeddingBackward {
    std::int64_t tokens, width, table_rows;
    const T* grad;                    // [tokens, width]
    const std::int64_t *ids, *order;  // [tokens]: ids ascending, and which token each is; equal ids in tokens' order
    std::int64_t skipped;             // -1: none
    T* to;
    float* edges;  // room for [chunks][2][width]: of the id that came from the chunk before, that goes on into the next

    STRATA_HOST_DEVICE std::int64_t chunks() const { return (tokens + chunk_tokens - 1) / chunk_tokens; }
};

/// A wrong id stops the program: on a GPU nobody looks at them before.
STRATA_HOST_DEVICE void check_id(std::int64_t id, std::int64_t rows) {
    if (id >= 0 && id < rows) return;
    printf("strata: an embedding's id is %lld; its table has %lld rows\n", static_cast<long long>(id),
           static_cast<long long>(rows));
#if defined(__CUDA_ARCH__)
    __trap();
#else
    __builtin_trap();
#endif
}

template <typename T, int vector>
struct EmbeddingForwardBody {
    static constexpr int team_threads = optim::warp_threads, block_threads = row_block_threads;
    struct Shared {};

    EmbeddingForward<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.rows; }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t row, Shared& /*shared*/) const {
        const T *word = row_of(on.words, row), *type = row_of(on.types, row), *position = row_of(on.positions, row);
        team.each([&](int thread) {
            for_own_vectors<vector, 0>(on.width, thread, [&](int /*k*/, std::int64_t column) {
                Vector<T, vector> sum = load<vector>(word + column);
                const Vector<T, vector> second = load<vector>(type + column), third = load<vector>(position + column);
                for (int lane = 0; lane < vector; ++lane) {
                    const float both = widen(sum.lane[lane]) + widen(second.lane[lane]);
                    narrow(both + widen(third.lane[lane]), sum.lane[lane]);
                }
                store(on.out + row * on.width + column, sum);
            });
        });
    }

  private:
    STRATA_HOST_DEVICE const T* row_of(const typename EmbeddingForward<T>::Table& table, std::int64_t row) const {
        const std::int64_t id = table.ids[row];
        check_id(id, table.rows);
        return table.data + id * on.width;
    }
};

namespace grid {

/// A chunk's share of the columns, for one warp.
struct ChunkPart {
    std::int64_t chunk, column;

    STRATA_HOST_DEVICE ChunkPart(std::int64_t width, int vector, std::int64_t piece, int lane) {
        const std::int64_t across = TileShape{0, width}.column_tiles(vector);
        chunk = piece / across;
        column = (piece % across * optim::warp_threads + lane) * vector;
    }
};

template <int vector, typename T>
STRATA_HOST_DEVICE void add_to_row(const EmbeddingBackward<T>& on, std::int64_t id, std::int64_t column,
                                   const float* sum) {
    if (id == on.skipped) return;
    check_id(id, on.table_rows);
    T* const to = on.to + id * on.width + column;
    Vector<T, vector> values = load<vector>(static_cast<const T*>(to));
    for (int lane = 0; lane < vector; ++lane) narrow(widen(values.lane[lane]) + sum[lane], values.lane[lane]);
    store(to, values);
}

}  // namespace grid

/// Ids that lie in one chunk go to the table, those that do not to the edges.
template <typename T, int vector>
struct EmbeddingChunkBody {
    static constexpr int team_threads = optim::warp_threads, block_threads = row_block_threads;
    struct Shared {};

    EmbeddingBackward<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.chunks() * TileShape{0, on.width}.column_tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& /*shared*/) const {
        team.each([&](int thread) {
            const grid::ChunkPart part(on.width, vector, piece, thread);
            if (part.column < on.width) add(part);
        });
    }

  private:
    STRATA_HOST_DEVICE void add(const grid::ChunkPart& part) const {
        const std::int64_t first = part.chunk * chunk_tokens;
        const std::int64_t last = first + chunk_tokens < on.tokens ? first + chunk_tokens : on.tokens;
        bool begins = first == 0 || on.ids[first - 1] != on.ids[first];
        float sum[vector] = {};
        for (std::int64_t i = first; i < last; ++i) {
            const Vector<T, vector> grad = load<vector>(on.grad + on.order[i] * on.width + part.column);
            for (int lane = 0; lane < vector; ++lane) sum[lane] += widen(grad.lane[lane]);
            const bool ends = i + 1 == on.tokens || on.ids[i + 1] != on.ids[i];
            if (!ends && i + 1 < last) continue;
            if (begins && ends) {
                grid::add_to_row<vector>(on, on.ids[i], part.column, sum);
            } else {
                float* const edge = on.edges + (2 * part.chunk + (begins ? 1 : 0)) * on.width + part.column;
                for (int lane = 0; lane < vector; ++lane) edge[lane] = sum[lane];
            }
            for (int lane = 0; lane < vector; ++lane) sum[lane] = 0.0F;
            begins = true;
        }
    }
};

/// A block to each chunk in which an id begins that goes on past it: groups of 32 threads take every eighth of the
/// chunks that follow, and are added up in their order.
template <typename T, int vector>
struct EmbeddingEdgeBody {
    static constexpr int team_threads = tile_threads, block_threads = tile_threads;
    using Shared = TileSums<1, vector>;

    EmbeddingBackward<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.chunks() * TileShape{0, on.width}.column_tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& shared) const {
        constexpr int lanes = optim::warp_threads;
        if (!begins_and_goes_on(grid::ChunkPart(on.width, vector, piece, 0).chunk)) return;
        team.each([&](int thread) {
            const grid::ChunkPart part(on.width, vector, piece, thread % lanes);
            if (part.column < on.width) add(part, thread / lanes, thread % lanes, shared);
        });
        team.each([&](int thread) {
            const grid::ChunkPart part(on.width, vector, piece, thread % lanes);
            if (thread >= lanes || part.column >= on.width) return;
            const float* const edge = on.edges + (2 * part.chunk + 1) * on.width + part.column;
            float total[vector];
            for (int lane = 0; lane < vector; ++lane) {
                total[lane] = edge[lane];
                for (int group = 0; group < tile_groups; ++group) total[lane] += shared.sum[group][0][lane][thread];
            }
            grid::add_to_row<vector>(on, on.ids[(part.chunk + 1) * chunk_tokens], part.column, total);
        });
    }

  private:
    /// The same for all threads of the block.
    STRATA_HOST_DEVICE bool begins_and_goes_on(std::int64_t chunk) const {
        const std::int64_t first = chunk * chunk_tokens, next = first + chunk_tokens;
        if (next >= on.tokens || on.ids[next - 1] != on.ids[next]) return false;
        return first == 0 || on.ids[first - 1] != on.ids[next];
    }

    STRATA_HOST_DEVICE void add(const grid::ChunkPart& part, int group, int lane, Shared& shared) const {
        const std::int64_t id = on.ids[(part.chunk + 1) * chunk_tokens];
        float sum[vector] = {};
        for (std::int64_t chunk = part.chunk + 1 + group; chunk < on.chunks(); chunk += tile_groups) {
            if (on.ids[chunk * chunk_tokens] != id) break;
            const float* const edge = on.edges + 2 * chunk * on.width + part.column;
            for (int k = 0; k < vector; ++k) sum[k] += edge[k];
        }
        for (int k = 0; k < vector; ++k) shared.sum[group][0][k][lane] = sum[k];
    }
};

/// One launch.
template <typename T, typename Launch>
void for_launches(const EmbeddingForward<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.words.data, on.types.data, on.positions.data, on.out)) {
        launch(EmbeddingForwardBody<T, full_vector<T>>{on});
    } else {
        launch(EmbeddingForwardBody<T, 1>{on});
    }
}

/// Two.
template <typename T, typename Launch>
void for_launches(const EmbeddingBackward<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.grad, on.to)) {
        launch(EmbeddingChunkBody<T, full_vector<T>>{on});
        launch(EmbeddingEdgeBody<T, full_vector<T>>{on});
    } else {
        launch(EmbeddingChunkBody<T, 1>{on});
        launch(EmbeddingEdgeBody<T, 1>{on});
    }
}

}  // namespace strata::models
