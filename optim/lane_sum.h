// Sums in double over sixteen interleaved lanes: element i goes to lane i mod 16, and the lanes are added in one fixed
// tree. Compilers vectorise it without leave to reorder, so every instruction set gives the same bits.
#pragma once

#include "optim/host_device.h"

#include <cstdint>

namespace strata::optim {

struct LaneSum {
    static constexpr int lanes = 16;
    double lane[lanes] = {};

    /// Adds value(i) for i in [0, elements). A call that is not the last must add a multiple of sixteen.
    template <typename Value>
    STRATA_HOST_DEVICE void add(std::int64_t elements, Value value) {
        double sums[lanes];
        for (int l = 0; l < lanes; ++l) sums[l] = lane[l];
        std::int64_t i = 0;
        for (; i + lanes <= elements; i += lanes) {
            for (int l = 0; l < lanes; ++l) sums[l] += value(i + l);
        }
        for (int l = 0; i + l < elements; ++l) sums[l] += value(i + l);
        for (int l = 0; l < lanes; ++l) lane[l] = sums[l];
    }

    STRATA_HOST_DEVICE double total() const {
        double sums[lanes];
        for (int l = 0; l < lanes; ++l) sums[l] = lane[l];
        for (int half = lanes / 2; half > 0; half /= 2) {
            for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
        }
        return sums[0];
    }
};

}  // namespace strata::optim
