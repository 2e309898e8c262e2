// Sequences end to end: no padding is stored, so none is computed.
//
// Of B sequences with T tokens in all: sequence b holds tokens offsets[b] … offsets[b+1]-1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/token_sequences.h"

namespace strata::data {

struct PackedBatch {
    std::vector<std::int64_t> input_ids;         // T
    std::vector<std::int64_t> token_type_ids;    // T
    std::vector<std::int64_t> position_ids;      // T, from 0 in each sequence
    std::vector<std::int64_t> offsets{0};        // B + 1
    std::vector<double> labels;                  // B, class index or value, NaN for none
    std::vector<std::int64_t> sample_positions;  // B, place in the step's global batch: keys dropout

    std::int64_t sequences() const { return static_cast<std::int64_t>(labels.size()); }
    std::int64_t tokens() const { return static_cast<std::int64_t>(input_ids.size()); }
};

/// One encoded sample; the views must outlive pack().
struct SequenceView {
    TokenSequence tokens;  // at least one
    double label = 0;
    std::int64_t sample_position = 0;
};

/// No sequences give an empty batch (offsets {0}).
PackedBatch pack(std::span<const SequenceView> sequences);

}  // namespace strata::data
