// LayerNorm(residual + dropout(x + bias)) on a GPU (models/norm_kernel.h is the CPU's): the bodies of its grids, walked
// on the host by a test. The data is fp32, bfloat16 or fp16, arithmetic and sums fp32. No torch.
//
// Forward: a warp a row, which it keeps in registers up to 1024 columns. Backward: a warp a row finds the two means
// that the row's gradients need, then tiles of columns make the gradients and sum those of gamma, beta and bias on the
// way, then tiles are added up: three launches, all sums in fixed orders.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/column_tile.h"
#include "models/dropout_grid.h"

namespace strata::models {

/// As norm_row, for [rows, width]. Without `x` the residual is the sum, and `s` is not touched.
template <typename T>
struct NormForward {
    std::int64_t rows, width;
    const T *x, *bias, *residual, *gamma, *beta;
    T *s, *y;
    float* moments;  // [rows][2]: mean, inverse deviation; of `s` as stored
    float epsilon;
    DropoutPlaces dropout;
};

/// What the tiles need to know of a row. With n = (s - mean) / deviation and g = grad_y * gamma.
struct alignas(16) NormRowMeans {
    std::uint64_t key;  // of its mask
    float mean, slope;  // mean(g), mean(g n)
};

/// As norm_backward_row. Without `grad_x` nobody wants it or the bias's gradient.
template <typename T>
struct NormBackward {
    std::int64_t rows, width;
    const T *grad_y, *s, *gamma;
    const float* moments;
    T *grad_residual, *grad_x;
    DropoutPlaces dropout;
    NormRowMeans* means;  // room for [rows]
    float* tiles;         // room for TileShape{rows, width}.row_tiles() * sums() * width
    T* sums_to;           // [sums()][width]: the gradients of gamma, beta and, with grad_x, bias

    std::int64_t sums() const { return grad_x != nullptr ? 3 : 2; }
};

template <typename T, int vector, int held>
struct NormForwardBody {
    static constexpr int team_threads = optim::warp_threads, block_threads = row_block_threads;
    struct Shared {
        float sums[optim::warp_threads], squares[optim::warp_threads];
    };
    using Row = HeldRow<T, vector, held>;

    NormForward<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.rows; }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t row, Shared& shared) const {
        const std::int64_t at = row * on.width;
        const auto n = static_cast<float>(on.width);
        typename Team::template Own<Row> own(team);
        team.each([&](int thread) { shared.sums[thread] = add(row, thread, own[thread]); });
        optim::fold(team, shared.sums);
        team.each([&](int thread) {
            shared.squares[thread] = square_distances(at, thread, own[thread], shared.sums[0] / n);
        });
        optim::fold(team, shared.squares);
        team.each([&](int thread) {
            const float mean = shared.sums[0] / n;
            const float inverse_deviation = 1.0F / sqrtf(shared.squares[0] / n + on.epsilon);
            normalise(at, thread, own[thread], mean, inverse_deviation);
            if (thread != 0) return;
            on.moments[2 * row] = mean;
            on.moments[2 * row + 1] = inverse_deviation;
        });
    }

  private:
    STRATA_HOST_DEVICE const T* sum() const { return on.x != nullptr ? on.s : on.residual; }

    /// Makes and stores the thread's part of the sum; returns what it adds up to.
    STRATA_HOST_DEVICE float add(std::int64_t row, int thread, Row& own) const {
        const std::int64_t at = row * on.width;
        const bool drops = on.dropout.places != nullptr;
        const DropoutRow mask{drops ? on.dropout.row_key(row) : 0, on.dropout.threshold, on.dropout.scale};
        float total = 0.0F;
        for_own_vectors<vector, held>(on.width, thread, [&](int k, std::int64_t column) {
            Vector<T, vector> s = load<vector>(on.residual + at + column);
            if (on.x != nullptr) {
                const Vector<T, vector> x = load<vector>(on.x + at + column), bias = load<vector>(on.bias + column);
                for (int lane = 0; lane < vector; ++lane) {
                    const auto element = static_cast<std::uint32_t>(column + lane);
                    const float factor = drops ? dropout_factor_of(mask, element) : 1.0F;
                    narrow(widen(s.lane[lane]) + factor * (widen(x.lane[lane]) + widen(bias.lane[lane])), s.lane[lane]);
                }
                store(on.s + at + column, s);
            }
            own.hold(k, s);
            for (int lane = 0; lane < vector; ++lane) total += widen(s.lane[lane]);
        });
        return total;
    }

    STRATA_HOST_DEVICE float square_distances(std::int64_t at, int thread, const Row& own, float mean) const {
        float total = 0.0F;
        for_own_vectors<vector, held>(on.width, thread, [&](int k, std::int64_t column) {
            const Vector<T, vector> s = own.get(k, sum() + at + column);
            for (int lane = 0; lane < vector; ++lane) {
                const float distance = widen(s.lane[lane]) - mean;
                total += distance * distance;
            }
        });
        return total;
    }

    STRATA_HOST_DEVICE void normalise(std::int64_t at, int thread, const Row& own, float mean,
                                      float inverse_deviation) const {
        for_own_vectors<vector, held>(on.width, thread, [&](int k, std::int64_t column) {
            Vector<T, vector> s = own.get(k, sum() + at + column);
            const Vector<T, vector> gamma = load<vector>(on.gamma + column), beta = load<vector>(on.beta + column);
            for (int lane = 0; lane < vector; ++lane) {
                const float normal = (widen(s.lane[lane]) - mean) * inverse_deviation;
                narrow(normal * widen(gamma.lane[lane]) + widen(beta.lane[lane]), s.lane[lane]);
            }
            store(on.y + at + column, s);
        });
    }
};

template <typename T, int vector>
struct NormMeansBody {
    static constexpr int team_threads = optim::warp_threads, block_threads = row_block_threads;
    struct Shared {
        float plain[optim::warp_threads], weighted[optim::warp_threads];
    };

    NormBackward<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.rows; }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t row, Shared& shared) const {
        team.each([&](int thread) { add(row, thread, shared); });
        optim::fold(team, shared.plain);
        optim::fold(team, shared.weighted);
        team.each([&](int thread) {
            if (thread != 0) return;
            const auto n = static_cast<float>(on.width);
            const std::uint64_t key = on.dropout.places != nullptr ? on.dropout.row_key(row) : 0;
            on.means[row] = {key, shared.plain[0] / n, shared.weighted[0] / n};
        });
    }

  private:
    STRATA_HOST_DEVICE void add(std::int64_t row, int thread, Shared& shared) const {
        const std::int64_t at = row * on.width;
        const float mean = on.moments[2 * row], inverse_deviation = on.moments[2 * row + 1];
        float plain = 0.0F, weighted = 0.0F;
        for_own_vectors<vector, 0>(on.width, thread, [&](int /*k*/, std::int64_t column) {
            const Vector<T, vector> grad = load<vector>(on.grad_y + at + column), s = load<vector>(on.s + at + column);
            const Vector<T, vector> gamma = load<vector>(on.gamma + column);
            for (int lane = 0; lane < vector; ++lane) {
                const float scaled = widen(grad.lane[lane]) * widen(gamma.lane[lane]);
                plain += scaled;
                weighted += scaled * ((widen(s.lane[lane]) - mean) * inverse_deviation);
            }
        });
        shared.plain[thread] = plain;
        shared.weighted[thread] = weighted;
    }
};

/// `count` sums: gamma's, beta's and, with a gradient of x, bias's.
template <typename T, int vector, int count>
struct NormBackwardBody {
    static constexpr int team_threads = tile_threads, block_threads = tile_threads;
    using Shared = TileSums<count, vector>;

    NormBackward<T> on;

    STRATA_HOST_DEVICE TileShape shape() const { return {on.rows, on.width}; }
    STRATA_HOST_DEVICE std::int64_t pieces() const { return shape().tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& shared) const {
        sum_tile<count, vector>(team, shape(), piece, shared, on.tiles,
                                [&](const TilePart& part) { return rows(part); });
    }

  private:
    /// The gradient of the sum is (g - mean(g) - n mean(g n)) / deviation.
    STRATA_HOST_DEVICE ColumnTotals<count, vector> rows(const TilePart& part) const {
        ColumnTotals<count, vector> totals{};
        if (part.row >= part.last_row) return totals;
        const Vector<T, vector> gamma = load<vector>(on.gamma + part.column);
        for (std::int64_t row = part.row; row < part.last_row; row += TilePart::row_step) {
            const std::int64_t at = row * on.width + part.column;
            const float mean = on.moments[2 * row], inverse_deviation = on.moments[2 * row + 1];
            const NormRowMeans means = on.means[row];
            const Vector<T, vector> grad = load<vector>(on.grad_y + at), s = load<vector>(on.s + at);
            Vector<T, vector> grad_residual, grad_x;
            for (int lane = 0; lane < vector; ++lane) {
                const float above = widen(grad.lane[lane]);
                const float normal = (widen(s.lane[lane]) - mean) * inverse_deviation;
                const float scaled = above * widen(gamma.lane[lane]);
                const float grad_s = (scaled - means.mean - normal * means.slope) * inverse_deviation;
                narrow(grad_s, grad_residual.lane[lane]);
                totals.sum[0][lane] += above * normal;
                totals.sum[1][lane] += above;
                if constexpr (count == 3) {
                    const float dropped = grad_s * factor(means.key, part.column + lane);
                    narrow(dropped, grad_x.lane[lane]);
                    totals.sum[2][lane] += dropped;
                }
            }
            store(on.grad_residual + at, grad_residual);
            if constexpr (count == 3) store(on.grad_x + at, grad_x);
        }
        return totals;
    }

    STRATA_HOST_DEVICE float factor(std::uint64_t key, std::int64_t column) const {
        if (on.dropout.places == nullptr) return 1.0F;
        const DropoutRow mask{key, on.dropout.threshold, on.dropout.scale};
        return dropout_factor_of(mask, static_cast<std::uint32_t>(column));
    }
};

/// One launch.
template <typename T, typename Launch>
void for_launches(const NormForward<T>& on, const Launch& launch) {
    if (!rows_are_vectors<T>(on.width, on.x, on.bias, on.residual, on.gamma, on.beta, on.s, on.y)) {
        launch(NormForwardBody<T, 1, 0>{on});
    } else if (on.width <= held_width) {
        launch(NormForwardBody<T, full_vector<T>, held_vectors<T>>{on});
    } else {
        launch(NormForwardBody<T, full_vector<T>, 0>{on});
    }
}

namespace grid {

template <int vector, typename T, typename Launch>
void norm_backward_launches(const NormBackward<T>& on, const Launch& launch) {
    launch(NormMeansBody<T, vector>{on});
    if (on.grad_x != nullptr) {
        launch(NormBackwardBody<T, vector, 3>{on});
    } else {
        launch(NormBackwardBody<T, vector, 2>{on});
    }
}

}  // namespace grid

/// Three launches.
template <typename T, typename Launch>
void for_launches(const NormBackward<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.grad_y, on.s, on.gamma, on.grad_residual, on.grad_x)) {
        grid::norm_backward_launches<full_vector<T>>(on, launch);
    } else {
        grid::norm_backward_launches<1>(on, launch);
    }
    launch(sum_of_tiles(on.tiles, TileShape{on.rows, on.width}.row_tiles(), on.sums() * on.width, on.sums_to));
}

}  // namespace strata::models
