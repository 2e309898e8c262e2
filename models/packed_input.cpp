#include "models/packed_input.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/round_up.h"
#include "models/sent.h"

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

/// Of one row a sequence.
std::vector<std::int64_t> pooled_offsets(std::size_t sequences) {
    std::vector<std::int64_t> offsets(sequences + 1);
    std::iota(offsets.begin(), offsets.end(), std::int64_t{0});
    return offsets;
}

/// On the CPU.
LayoutTensors layout_tensors(const std::vector<std::int64_t>& offsets,
                             const std::vector<std::int64_t>& sample_positions) {
    const torch::Tensor places = torch::empty({offsets.back(), 2}, torch::kInt64);
    auto* to = places.mutable_data_ptr<std::int64_t>();
    for (std::size_t b = 0; b < sample_positions.size(); ++b) {
        for (std::int64_t token = 0; token < offsets[b + 1] - offsets[b]; ++token) {
            *to++ = sample_positions[b];
            *to++ = token;
        }
    }
    const torch::Tensor borders = as_tensor(offsets);
    return {places, borders.to(torch::kInt32), borders.narrow(0, 0, borders.size(0) - 1)};
}

/// Where the borders lie, and without a look at them: their values change from replay to replay of a CUDA graph.
PaddedRows padded_rows(const torch::Tensor& borders, std::int64_t rows, std::int64_t longest) {
    const std::int64_t sequences = borders.size(0) - 1;
    const torch::Tensor begins = borders.narrow(0, 0, sequences), ends = borders.narrow(0, 1, sequences);
    const auto counted = [&](std::int64_t count) { return torch::arange(count, borders.options()); };
    PaddedRows padded;
    padded.length = round_up<std::int64_t>(longest, 16);
    const torch::Tensor row = counted(rows);
    const torch::Tensor its_sequence = torch::bucketize(row, ends, /*out_int32=*/false, /*right=*/true);
    const torch::Tensor shifts = counted(sequences) * padded.length - begins;
    padded.slots = (row + shifts.index_select(0, its_sequence)).to(torch::kInt64);
    const torch::Tensor beyond = counted(padded.length) >= (ends - begins).unsqueeze(1);
    padded.mask = torch::zeros(beyond.sizes(), borders.options().dtype(torch::kFloat32))
                      .masked_fill_(beyond, -std::numeric_limits<float>::infinity())
                      .view({sequences, 1, 1, padded.length});
    return padded;
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

PackedLayout::PackedLayout(std::vector<std::int64_t> its_offsets, std::vector<std::int64_t> its_sample_positions,
                           std::int64_t at_least, LayoutTensors there)
    : offsets(std::move(its_offsets)),
      sample_positions(std::move(its_sample_positions)),
      longest(at_least),
      tensors_(std::move(there)) {
    STRATA_CHECK(offsets.size() == sample_positions.size() + 1 && offsets.front() == 0, "{} offsets for {} sequences",
                 offsets.size(), sample_positions.size());
    row_sequence.reserve(static_cast<std::size_t>(std::max<std::int64_t>(offsets.back(), 0)));
    for (std::size_t b = 0; b < sample_positions.size(); ++b) {
        const std::int64_t rows_of_b = offsets[b + 1] - offsets[b];
        STRATA_CHECK(rows_of_b > 0, "sequence {} has {} tokens", b, rows_of_b);
        longest = std::max(longest, rows_of_b);
        row_sequence.insert(row_sequence.end(), static_cast<std::size_t>(rows_of_b), static_cast<std::int64_t>(b));
    }
}

LayoutTensors PackedLayout::on(torch::Device device) const {
    const std::lock_guard lock(mutex_);
    if (tensors_.places.defined() && tensors_.places.device() == device) return tensors_;
    const LayoutTensors here = layout_tensors(offsets, sample_positions);
    const std::vector<torch::Tensor> there = sent_together({here.places, here.borders, here.firsts}, device);
    tensors_ = {there[0], there[1], there[2]};
    return tensors_;
}

PaddedRows PackedLayout::padded_on(torch::Device device) const {
    const torch::Tensor borders = on(device).borders;
    const std::lock_guard lock(mutex_);
    if (!padded_.slots.defined() || padded_.slots.device() != device) padded_ = padded_rows(borders, rows(), longest);
    return padded_;
}

LayoutPointer make_layout(std::vector<std::int64_t> offsets, std::vector<std::int64_t> sample_positions) {
    return std::make_shared<PackedLayout>(std::move(offsets), std::move(sample_positions), 0, LayoutTensors());
}

LayoutPointer make_layout(const PackedInput& input) {
    return std::make_shared<PackedLayout>(input.offsets, input.sample_positions, input.longest, input.rows);
}

LayoutPointer make_pooled_layout(std::vector<std::int64_t> sample_positions, LayoutTensors there) {
    std::vector<std::int64_t> offsets = pooled_offsets(sample_positions.size());
    return std::make_shared<PackedLayout>(std::move(offsets), std::move(sample_positions), 0, std::move(there));
}

std::vector<torch::Tensor> tensors_of(const PackedInput& input) {
    const LayoutTensors rows = layout_tensors(input.offsets, input.sample_positions);
    const std::size_t sequences = input.sample_positions.size();
    const LayoutTensors pooled = layout_tensors(pooled_offsets(sequences), input.sample_positions);
    return {input.input_ids, input.token_type_ids, input.position_ids, rows.places,  rows.borders,
            rows.firsts,     pooled.places,        pooled.borders,     pooled.firsts};
}

PackedInput with_tensors(PackedInput input, const std::vector<torch::Tensor>& tensors) {
    STRATA_CHECK(tensors.size() == 9, "{} tensors of an input", tensors.size());
    input.input_ids = tensors[0];
    input.token_type_ids = tensors[1];
    input.position_ids = tensors[2];
    input.rows = {tensors[3], tensors[4], tensors[5]};
    input.pooled = {tensors[6], tensors[7], tensors[8]};
    return input;
}

std::vector<torch::Tensor> tensors_of(const FixedInput& input) {
    const LayoutTensors pooled = layout_tensors(pooled_offsets(input.sample_positions.size()), input.sample_positions);
    return {input.rows, pooled.places, pooled.borders, pooled.firsts};
}

FixedInput with_tensors(FixedInput input, const std::vector<torch::Tensor>& tensors) {
    STRATA_CHECK(tensors.size() == 4, "{} tensors of an input", tensors.size());
    input.rows = tensors[0];
    input.pooled = {tensors[1], tensors[2], tensors[3]};
    return input;
}

}  // namespace strata::models
