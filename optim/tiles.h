// Cuts a list of runs into tiles of equal length, so that threads share out work evenly and sums have a fixed order.
#pragma once

#include "optim/fused_update.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace strata::optim {

struct Tile {
    std::size_t run = 0;     // index into the list of runs
    std::int64_t begin = 0;  // elements, inside the run
    std::int64_t end = 0;
};

/// Every run from its start on, in order; only a run's last tile is shorter than `size`.
template <typename Runs>
std::vector<Tile> make_tiles(const Runs& runs, std::int64_t size = tile_elements) {
    std::vector<Tile> tiles;
    for (std::size_t run = 0; run < runs.size(); ++run) {
        const std::int64_t elements = runs[run].elements;
        for (std::int64_t begin = 0; begin < elements; begin += size) {
            tiles.push_back({run, begin, std::min(elements, begin + size)});
        }
    }
    return tiles;
}

}  // namespace strata::optim
