#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/instruction_sets.h"
#include "optim/lane_sum.h"
#include "optim/tiles.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace strata::optim {

namespace {

STRATA_CLONES void add_squares(LaneSum& sum, const float* values, std::int64_t elements) {
    sum.add(
        elements, [values](std::int64_t i) __attribute__((always_inline)) {
            const auto value = static_cast<double>(values[i]);
            return value * value;
        });
}

/// Of fp32, or of 16 bits each.
struct Run {
    const float* values;
    std::int64_t elements;
    std::int32_t group;
    ComputeType type = ComputeType::fp32;
    const std::uint16_t* values16 = nullptr;

    const void* end() const {
        return values16 != nullptr ? static_cast<const void*>(values16 + elements) : values + elements;
    }
};

double tile_square_sum(const Run& run, std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t piece = 512;  // a multiple of LaneSum's lanes
    LaneSum sum;
    if (run.values16 == nullptr) {
        add_squares(sum, run.values + begin, end - begin);
        return sum.total();
    }
    float widened[piece];
    for (; begin < end; begin += piece) {
        const std::int64_t size = std::min(piece, end - begin);
        widen(run.values16 + begin, widened, size, run.type);
        add_squares(sum, widened, size);
    }
    return sum.total();
}

std::vector<Run> gradient_runs(std::span<const UpdateSpan> spans) {
    std::vector<Run> runs;
    for (const UpdateSpan& span : spans) {
        const Run run{span.grad, span.elements, span.group, span.type, span.grad16};
        const void* const first = run.values16 != nullptr ? static_cast<const void*>(run.values16) : run.values;
        if (!runs.empty() && runs.back().group == run.group && runs.back().end() == first) {
            runs.back().elements += run.elements;
        } else {
            runs.push_back(run);
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
        sums[static_cast<std::size_t>(t)] = tile_square_sum(runs[tile.run], tile.begin, tile.end);
    }
    return sums;
}

}  // namespace

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
