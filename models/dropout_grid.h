// Dropout on a GPU: the masks of models/dropout.h, bit for bit, and the body of a grid that applies one. No torch.
#pragma once

#include <cstdint>

#include "models/dropout_mix.h"
#include "models/row_vectors.h"

namespace strata::models {

/// A site's masks over the rows of a packed tensor. What changes from step to step lies in memory, so that launches
/// can be captured once and replayed.
struct DropoutPlaces {
    const std::int64_t* places = nullptr;  // [rows][2]: the sample's position, the token's; null: nothing is dropped
    const std::uint64_t* step_key = nullptr;
    std::int64_t site = 0;
    std::uint32_t threshold = 0;  // as in DropoutRow
    float scale = 1.0F;

    STRATA_HOST_DEVICE std::uint64_t row_key(std::int64_t row) const {
        const std::uint64_t site_key = dropout_site_key_of(*step_key, site);
        const std::uint64_t sample_key = dropout_sample_key_of(site_key, places[2 * row]);
        return dropout_row_key_of(sample_key, places[2 * row + 1], 0);
    }
};

/// out = factors * x, [rows, width].
template <typename T>
struct DropoutPass {
    std::int64_t rows, width;
    const T* x;
    T* out;
    DropoutPlaces dropout;
};

template <typename T, int vector>
struct DropoutBody {
    static constexpr int team_threads = optim::warp_threads, block_threads = row_block_threads;
    struct Shared {};

    DropoutPass<T> on;

    STRATA_HOST_DEVICE std::int64_t pieces() const { return on.rows; }

    template <typename Team>
    STRATA_HOST_DEVICE void run(const Team& team, std::int64_t row, Shared& /*shared*/) const {
        const DropoutRow mask{on.dropout.row_key(row), on.dropout.threshold, on.dropout.scale};
        team.each([&](int thread) {
            for_own_vectors<vector, 0>(on.width, thread, [&](int /*k*/, std::int64_t column) {
                Vector<T, vector> x = load<vector>(on.x + row * on.width + column);
                for (int lane = 0; lane < vector; ++lane) {
                    const auto element = static_cast<std::uint32_t>(column + lane);
                    narrow(dropout_factor_of(mask, element) * widen(x.lane[lane]), x.lane[lane]);
                }
                store(on.out + row * on.width + column, x);
            });
        });
    }
};

/// One launch.
template <typename T, typename Launch>
void for_launches(const DropoutPass<T>& on, const Launch& launch) {
    if (rows_are_vectors<T>(on.width, on.x, on.out)) {
        launch(DropoutBody<T, full_vector<T>>{on});
    } else {
        launch(DropoutBody<T, 1>{on});
    }
}

}  // namespace strata::models
