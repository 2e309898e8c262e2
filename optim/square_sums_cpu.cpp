#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/instruction_sets.h"
#include "optim/lane_sum.h"
#include "optim/tiles.h"

#include <cmath>
#include <vector>

namespace strata::optim {

namespace {

STRATA_CLONES double tile_square_sum(const float* values, std::int64_t elements) {
    LaneSum sum;
    sum.add(
        elements, [values](std::int64_t i) __attribute__((always_inline)) {
            const auto value = static_cast<double>(values[i]);
            return value * value;
        });
    return sum.total();
}

struct Run {
    const float* values;
    std::int64_t elements;
    std::int32_t group;
};

std::vector<Run> gradient_runs(std::span<const UpdateSpan> spans) {
    std::vector<Run> runs;
    for (const UpdateSpan& span : spans) {
        const bool touches =
            !runs.empty() && runs.back().group == span.group && runs.back().values + runs.back().elements == span.grad;
        if (touches) {
            runs.back().elements += span.elements;
        } else {
            runs.push_back({span.grad, span.elements, span.group});
        }
    }
    return runs;
}

/// One sum for each tile, whichever thread it falls to; the caller adds them in tile order.
std::vector<double> tile_square_sums(const std::vector<Run>& runs, const std::vector<Tile>& tiles) {
    std::vector<double> sums(tiles.size());
    const auto count = static_cast<std::int64_t>(tiles.size());
#pragma omp parallel for schedule(static) if (count > 1)
    for (std::int64_t t = 0; t < count; ++t) {
        const Tile& tile = tiles[static_cast<std::size_t>(t)];
        sums[static_cast<std::size_t>(t)] = tile_square_sum(runs[tile.run].values + tile.begin, tile.end - tile.begin);
    }
    return sums;
}

}  // namespace

double square_sum_cpu(const float* values, std::int64_t elements) {
    const std::vector<Run> runs{{values, elements, 0}};
    double total = 0.0;
    for (const double sum : tile_square_sums(runs, make_tiles(runs))) total += sum;
    return total;
}

std::vector<double> tile_square_sums_cpu(std::span<const UpdateSpan> spans, std::int64_t tile) {
    const std::vector<Run> runs = gradient_runs(spans);
    return tile_square_sums(runs, make_tiles(runs, tile));
}

bool square_sums_cpu(std::span<const UpdateSpan> spans, std::span<double> per_group) {
    const std::vector<Run> runs = gradient_runs(spans);
    const std::vector<Tile> tiles = make_tiles(runs);
    const std::vector<double> sums = tile_square_sums(runs, tiles);
    std::fill(per_group.begin(), per_group.end(), 0.0);
    for (std::size_t t = 0; t < tiles.size(); ++t) {
        const auto group = static_cast<std::size_t>(runs[tiles[t].run].group);
        STRATA_CHECK(group < per_group.size(), "group {} of {}", group, per_group.size());
        per_group[group] += sums[t];
    }
    return std::all_of(per_group.begin(), per_group.end(), [](double sum) { return std::isfinite(sum); });
}

}  // namespace strata::optim
