// LAMB's first phase: new moments, and the square sums that the trust ratios are made of.
#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/instruction_sets.h"
#include "optim/lane_sum.h"
#include "optim/span_check.h"
#include "optim/span_floats.h"
#include "optim/tiles.h"

#include <algorithm>
#include <vector>

namespace strata::optim {

namespace {

STRATA_CLONES void moments_tile(const float* __restrict grad, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                                std::int64_t elements, const GroupHyper& hyper, float grad_scale) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) update_moments(grad[i] * grad_scale, exp_avg[i], exp_avg_sq[i], h);
}

/// Directions of at most `piece` elements, so that they stay in the first cache and the sums below vectorise.
constexpr std::int64_t piece = 512;  // a multiple of LaneSum's lanes

STRATA_CLONES void direction_tile(float* __restrict direction, const float* __restrict param,
                                  const float* __restrict exp_avg, const float* __restrict exp_avg_sq,
                                  std::int64_t elements, const GroupHyper& hyper, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) {
        direction[i] = lamb_direction(param[i], exp_avg[i], exp_avg_sq[i], h, decays);
    }
}

STRATA_CLONES void add_squares(LaneSum& sum, const float* values, std::int64_t elements) {
    sum.add(
        elements, [values](std::int64_t i) __attribute__((always_inline)) {
            const auto value = static_cast<double>(values[i]);
            return value * value;
        });
}

struct TensorSums {
    double weight = 0.0;
    double direction = 0.0;
};

TensorSums tile_sums(const UpdateSpan& span, const Tile& tile, const GroupHyper& hyper, float grad_scale) {
    LaneSum weights;
    LaneSum directions;
    float direction[piece];
    float grad_room[piece];
    float param_room[piece];
    for (std::int64_t begin = tile.begin; begin < tile.end; begin += piece) {
        const std::int64_t elements = std::min(tile.end - begin, piece);
        const float* const grad = gradients_of(span, begin, elements, grad_room);
        const float* const param = parameters_of(span, begin, elements, param_room);
        moments_tile(grad, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, grad_scale);
        direction_tile(direction, param, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, span.decays);
        add_squares(weights, param, elements);
        add_squares(directions, direction, elements);
    }
    return {weights.total(), directions.total()};
}

}  // namespace

void lamb_moments_cpu(std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                      const UpdateControl& control, std::span<double> tensor_sums) {
    for (const UpdateSpan& span : spans) {
        check_span(OptimizerKind::lamb, span, hypers);
        STRATA_CHECK(2 * static_cast<std::size_t>(span.tensor) < tensor_sums.size(), "tensor {} of {} sums",
                     span.tensor, tensor_sums.size());
    }
    std::fill(tensor_sums.begin(), tensor_sums.end(), 0.0);
    if (!control.finite) return;

    const std::vector<Tile> tiles = make_tiles(spans);
    std::vector<TensorSums> sums(tiles.size());
    const auto count = static_cast<std::int64_t>(tiles.size());
#pragma omp parallel for schedule(static) if (count > 1)
    for (std::int64_t t = 0; t < count; ++t) {
        const Tile& tile = tiles[static_cast<std::size_t>(t)];
        const UpdateSpan& span = spans[tile.run];
        sums[static_cast<std::size_t>(t)] =
            tile_sums(span, tile, hypers[static_cast<std::size_t>(span.group)], control.grad_scale);
    }
    for (std::size_t t = 0; t < tiles.size(); ++t) {
        const auto tensor = static_cast<std::size_t>(spans[tiles[t].run].tensor);
        tensor_sums[2 * tensor] += sums[t].weight;
        tensor_sums[2 * tensor + 1] += sums[t].direction;
    }
}

}  // namespace strata::optim
