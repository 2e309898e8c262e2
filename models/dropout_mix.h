// The arithmetic of the dropout masks (models/dropout.h), shared by the kernels, for host and device. No torch.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/target_clones.h"
#include "optim/host_device.h"
#include "optim/mix.h"

namespace strata::models {

/// One row's key and what its site does: an element is kept when its hash is at least the threshold.
struct DropoutRow {
    std::uint64_t key;
    std::uint32_t threshold;  // probability * 2^32
    float scale;              // 1 / (1 - probability)
};

STRATA_HOST_DEVICE std::uint64_t dropout_site_key_of(std::uint64_t step_key, std::int64_t site) {
    return optim::mix64(step_key ^ static_cast<std::uint64_t>(site));
}

STRATA_HOST_DEVICE std::uint64_t dropout_sample_key_of(std::uint64_t site_key, std::int64_t sample_position) {
    return optim::mix64(site_key ^ static_cast<std::uint64_t>(sample_position));
}

STRATA_HOST_DEVICE std::uint64_t dropout_row_key_of(std::uint64_t sample_key, std::int64_t token, std::int64_t head) {
    return optim::mix64(sample_key ^ (static_cast<std::uint64_t>(token) | (static_cast<std::uint64_t>(head) << 40)));
}

STRATA_INLINE std::uint32_t dropout_threshold(double probability) {
    return static_cast<std::uint32_t>(std::fmin(std::floor(probability * 4294967296.0), 4294967295.0));
}

STRATA_HOST_DEVICE float dropout_factor_of(const DropoutRow& row, std::uint32_t element) {
    return optim::element_hash(row.key, element) >= row.threshold ? row.scale : 0.0F;
}

}  // namespace strata::models
