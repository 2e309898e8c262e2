// Bias and activation on a GPU (models/activation_kernel.h is the CPU's): the bodies of its grids, walked on the host
// by a test. The data is fp32, bfloat16 or fp16, the arithmetic fp32. No torch.
#pragma once

#include <cmath>

#include "models/activation_kernel.h"
#include "models/column_tile.h"

namespace strata::models {

/// y = f(x + bias); x and y [rows, width], bias [width].
template <typename T>
struct ActivationForward {
    ActivationKind kind;
    std::int64_t rows, width;
    const T *x, *bias;
    T* y;
};

/// The gradients of x and of the bias. `tiles` is room for TileShape{rows, width}.row_tiles() * width floats.
template <typename T>
struct ActivationBackward {
    ActivationKind kind;
    std::int64_t rows, width;
    const T *grad_y, *x, *bias;
    T *grad_x, *grad_bias;
    float* tiles;
};

namespace grid {

inline constexpr float root_half = 0.70710678118654752F;       // 1/√2
inline constexpr float bell_height = 0.39894228040143268F;     // 1/√(2π)
inline constexpr float tanh_scale = 2 * 0.79788456080286536F;  // 2√(2/π)
inline constexpr float tanh_cubic = 0.044715F;

/// x (1 + tanh(u)) / 2, where (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)).
STRATA_HOST_DEVICE float half_tanh(float x) {
    return 1.0F / (1.0F + expf(-tanh_scale * (x + tanh_cubic * x * x * x)));
}

/// Φ(x). By erfc, since 1 + erf(x) would lose the digits of what lies far below zero.
STRATA_HOST_DEVICE float normal_below(float x) {
    return 0.5F * erfcf(x * -root_half);
}

STRATA_HOST_DEVICE float activation_value(ActivationKind kind, float x) {
    if (kind == ActivationKind::gelu) return x * normal_below(x);
    if (kind == ActivationKind::gelu_tanh) return x * half_tanh(x);
    return x < 0.0F ? 0.0F : x;  // a NaN stays
}

STRATA_HOST_DEVICE float activation_slope(ActivationKind kind, float x) {
    if (kind == ActivationKind::gelu) {
        return normal_below(x) + x * bell_height * expf(-0.5F * x * x);
    }
    if (kind == ActivationKind::gelu_tanh) {
        const float half = half_tanh(x);
        return half + x * half * (1.0F - half) * tanh_scale * (1.0F + 3.0F * tanh_cubic * x * x);
    }
    return x > 0.0F ? 1.0F : 0.0F;
}

}  // namespace grid

template <typename T, int vector>
struct ActivationForwardBody {
    static constexpr int team_threads = tile_threads, block_threads = tile_threads;
    struct Shared {};

    ActivationForward<T> on;

    STRATA_HOST_DEVICE TileShape shape() const { return {on.rows, on.width}; }
    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.rows == 0 ? 0 : shape().tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& /*shared*/) const {
        team.each([&](int thread) {
            const TilePart part(shape(), vector, piece, thread);
            if (part.row >= part.last_row) return;
            const Vector<T, vector> bias = load<vector>(on.bias + part.column);
            for (std::int64_t row = part.row; row < part.last_row; row += TilePart::row_step) {
                const std::int64_t at = row * on.width + part.column;
                Vector<T, vector> x = load<vector>(on.x + at);
                for (int k = 0; k < vector; ++k) {
                    narrow(grid::activation_value(on.kind, widen(x.lane[k]) + widen(bias.lane[k])), x.lane[k]);
                }
                store(on.y + at, x);
            }
        });
    }
};

template <typename T, int vector>
struct ActivationBackwardBody {
    static constexpr int team_threads = tile_threads, block_threads = tile_threads;
    using Shared = TileSums<1, vector>;

    ActivationBackward<T> on;

    STRATA_HOST_DEVICE TileShape shape() const { return {on.rows, on.width}; }
    STRATA_HOST_DEVICE std::int64_t pieces() const { return shape().tiles(vector); }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t piece, Shared& shared) const {
        sum_tile<1, vector>(team, shape(), piece, shared, on.tiles, [&](const TilePart& part) { return rows(part); });
    }

    /// Writes the gradient of x, and sums it before it is rounded.
    STRATA_HOST_DEVICE ColumnTotals<1, vector> rows(const TilePart& part) const {
        ColumnTotals<1, vector> totals{};
        if (part.row >= part.last_row) return totals;
        const Vector<T, vector> bias = load<vector>(on.bias + part.column);
        for (std::int64_t row = part.row; row < part.last_row; row += TilePart::row_step) {
            const std::int64_t at = row * on.width + part.column;
            const Vector<T, vector> x = load<vector>(on.x + at);
            Vector<T, vector> grad = load<vector>(on.grad_y + at);
            for (int k = 0; k < vector; ++k) {
                const float slope = grid::activation_slope(on.kind, widen(x.lane[k]) + widen(bias.lane[k]));
                const float product = widen(grad.lane[k]) * slope;
                totals.sum[0][k] += product;
                narrow(product, grad.lane[k]);
            }
            store(on.grad_x + at, grad);
        }
        return totals;
    }
};

/// Calls launch(body) for the launches of a pass, in their order: one.
template <typename T, typename Launch>
void for_launches(const ActivationForward<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.x, on.bias, on.y)) {
        launch(ActivationForwardBody<T, full_vector<T>>{on});
    } else {
        launch(ActivationForwardBody<T, 1>{on});
    }
}

/// Two.
template <typename T, typename Launch>
void for_launches(const ActivationBackward<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.grad_y, on.x, on.bias, on.grad_x)) {
        launch(ActivationBackwardBody<T, full_vector<T>>{on});
    } else {
        launch(ActivationBackwardBody<T, 1>{on});
    }
    launch(sum_of_tiles(on.tiles, TileShape{on.rows, on.width}.row_tiles(), on.width, on.grad_bias));
}

}  // namespace strata::models
