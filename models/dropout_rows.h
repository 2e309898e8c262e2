// Which mask each row of a packed tensor has at a site: what kernels are given, row by row.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/dropout.h"
#include "models/dropout_grid.h"
#include "models/dropout_mix.h"
#include "models/packed_input.h"

namespace strata::models {

/// STRATA_CHECK: a probability in [0, 1).
bool drops(const std::optional<DropoutSite>& site);

DropoutRow dropout_row_of(const DropoutSite& site, std::uint64_t row_key);

/// The masks of a site as a GPU is told them. What they point to lives as long as the layout and the key.
DropoutPlaces dropout_places(const PackedLayout& layout, const DropoutSite& site, torch::Device device);

class DropoutRows {
  public:
    /// Keeps a reference to the layout.
    DropoutRows(const PackedLayout& layout, const DropoutSite& site);

    DropoutRow operator[](std::int64_t row) const {
        const auto sequence = static_cast<std::size_t>(layout_.row_sequence[static_cast<std::size_t>(row)]);
        return {dropout_row_key_of(sample_keys_[sequence], row - layout_.offsets[sequence], 0), threshold_, scale_};
    }

  private:
    const PackedLayout& layout_;
    std::vector<std::uint64_t> sample_keys_;
    std::uint32_t threshold_;
    float scale_;
};

}  // namespace strata::models
