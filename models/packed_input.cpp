#include "models/packed_input.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace strata::models {
namespace {

torch::Tensor as_tensor(const std::vector<std::int64_t>& values) {
    return torch::tensor(values, torch::kInt64);
}

std::vector<std::int64_t> counted_positions(const std::vector<std::int64_t>& offsets) {
    std::vector<std::int64_t> positions;
    for (std::size_t b = 0; b + 1 < offsets.size(); ++b) {
        for (std::int64_t i = 0; i < offsets[b + 1] - offsets[b]; ++i) positions.push_back(i);
    }
    return positions;
}

}  // namespace

PackedInput PackedInput::from_vectors(const std::vector<std::int64_t>& input_ids,
                                      const std::vector<std::int64_t>& token_type_ids,
                                      const std::vector<std::int64_t>& position_ids, std::vector<std::int64_t> offsets,
                                      std::vector<std::int64_t> sample_positions) {
    STRATA_CHECK(!offsets.empty() && offsets.back() == static_cast<std::int64_t>(input_ids.size()),
                 "the last offset must be the number of tokens, {}", input_ids.size());
    if (sample_positions.empty()) {
        sample_positions.resize(offsets.size() - 1);
        std::iota(sample_positions.begin(), sample_positions.end(), std::int64_t{0});
    }
    PackedInput input;
    input.input_ids = as_tensor(input_ids);
    input.token_type_ids = token_type_ids.empty() ? torch::zeros_like(input.input_ids) : as_tensor(token_type_ids);
    input.position_ids = as_tensor(position_ids.empty() ? counted_positions(offsets) : position_ids);
    input.offsets = std::move(offsets);
    input.sample_positions = std::move(sample_positions);
    return input;
}

LayoutPointer make_layout(std::vector<std::int64_t> offsets, std::vector<std::int64_t> sample_positions) {
    STRATA_CHECK(offsets.size() == sample_positions.size() + 1 && offsets.front() == 0, "{} offsets for {} sequences",
                 offsets.size(), sample_positions.size());
    auto layout = std::make_shared<PackedLayout>();
    layout->row_sequence.reserve(static_cast<std::size_t>(std::max<std::int64_t>(offsets.back(), 0)));
    for (std::size_t b = 0; b < sample_positions.size(); ++b) {
        const std::int64_t length = offsets[b + 1] - offsets[b];
        STRATA_CHECK(length > 0, "sequence {} has {} tokens", b, length);
        layout->longest = std::max(layout->longest, length);
        layout->row_sequence.insert(layout->row_sequence.end(), static_cast<std::size_t>(length),
                                    static_cast<std::int64_t>(b));
    }
    layout->offsets = std::move(offsets);
    layout->sample_positions = std::move(sample_positions);
    return layout;
}

torch::Tensor PackedLayout::places_on(torch::Device device) const {
    const std::lock_guard lock(places_mutex_);
    if (places_.defined() && places_.device() == device) return places_;
    const torch::Tensor places = torch::empty({rows(), 2}, torch::kInt64);
    auto* to = places.mutable_data_ptr<std::int64_t>();
    for (std::int64_t row = 0; row < rows(); ++row) {
        const auto sequence = static_cast<std::size_t>(row_sequence[static_cast<std::size_t>(row)]);
        *to++ = sample_positions[sequence];
        *to++ = row - offsets[sequence];
    }
    // CUDA has taken a copy of such memory when the call returns, and the host need not wait for the stream.
    places_ = places.to(device, /*non_blocking=*/true);
    return places_;
}

LayoutPointer make_pooled_layout(std::vector<std::int64_t> sample_positions) {
    std::vector<std::int64_t> offsets(sample_positions.size() + 1);
    std::iota(offsets.begin(), offsets.end(), std::int64_t{0});
    return make_layout(std::move(offsets), std::move(sample_positions));
}

}  // namespace strata::models
