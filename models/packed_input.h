// A batch without padding: the tokens of B sequences laid end to end, T in all.
//
// PackedInput is what a model eats. PackedLayout says, for any tensor whose first dimension runs over those tokens,
// which sequence a row belongs to and where in it: packed attention needs the borders, counter-based dropout needs each
// row's place in the global batch. Nothing here depends on the number of ranks.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace strata::models {

/// What a GPU reads of a layout.
struct LayoutTensors {
    torch::Tensor places;   // int64 [T, 2]: each row's sample position, and its place in its sequence
    torch::Tensor borders;  // int32 [B + 1]: the offsets
    torch::Tensor firsts;   // int64 [B]: each sequence's first row
};

/// The rows of a layout among sequences padded to one length, for operators that know no borders.
struct PaddedRows {
    std::int64_t length = 0;  // at least the layout's `longest`; a multiple of 16, as operators want masks to be
    torch::Tensor slots;      // int64 [T]: each row's place among the B * length
    torch::Tensor mask;       // fp32 [B, 1, 1, length], to be added to scores: 0, and -inf beyond a sequence's end
};

struct PackedInput {
    torch::Tensor input_ids;                     // int64 [T], on the CPU
    torch::Tensor token_type_ids;                // int64 [T]
    torch::Tensor position_ids;                  // int64 [T], 0 at each sequence's first token
    std::vector<std::int64_t> offsets;           // B+1 ascending: sequence b is rows offsets[b] .. offsets[b+1]
    std::vector<std::int64_t> sample_positions;  // B: each sequence's place in the step's global batch
    std::int64_t longest = 0;                    // what kernels are told, where more than the longest sequence's tokens
    LayoutTensors rows, pooled;                  // of its two layouts, beside ids on a GPU; undefined: not sent yet

    std::int64_t sequences() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
    std::int64_t tokens() const { return offsets.back(); }

    /// Builds the tensors from host vectors (which may go afterwards). Empty `token_type_ids` means all zero, empty
    /// `position_ids` counts from each border, empty `sample_positions` counts from 0.
    static PackedInput from_vectors(const std::vector<std::int64_t>& input_ids,
                                    const std::vector<std::int64_t>& token_type_ids,
                                    const std::vector<std::int64_t>& position_ids, std::vector<std::int64_t> offsets,
                                    std::vector<std::int64_t> sample_positions);
};

/// What a network makes of samples up to some place, to be gone on from (Model::forward_from).
struct FixedInput {
    torch::Tensor rows;                          // [B, width]
    std::vector<std::int64_t> sample_positions;  // B, as in the batch
    LayoutTensors pooled = {};                   // of its layout, beside rows on a GPU; undefined: not sent yet

    std::int64_t sequences() const { return rows.size(0); }
};

class PackedLayout {
  public:
    /// make_layout() and make_pooled_layout().
    PackedLayout(std::vector<std::int64_t> its_offsets, std::vector<std::int64_t> its_sample_positions,
                 std::int64_t at_least, LayoutTensors there);

    std::vector<std::int64_t> offsets;           // B+1
    std::vector<std::int64_t> sample_positions;  // B
    std::vector<std::int64_t> row_sequence;      // T: the sequence of each row
    std::int64_t longest = 0;                    // at least the tokens in the longest sequence

    std::int64_t sequences() const { return static_cast<std::int64_t>(sample_positions.size()); }
    std::int64_t rows() const { return offsets.back(); }
    std::int64_t length(std::int64_t sequence) const {
        return offsets[static_cast<std::size_t>(sequence) + 1] - offsets[static_cast<std::size_t>(sequence)];
    }

    /// What a GPU reads of it, on `device`: sent there once, unless it is there already.
    LayoutTensors on(torch::Device device) const;

    /// The same as padded rows: made there once, of on(device).
    PaddedRows padded_on(torch::Device device) const;

  private:
    mutable std::mutex mutex_;  // backward passes have threads of their own
    mutable LayoutTensors tensors_;
    mutable PaddedRows padded_;
};

/// Shared, since the backward pass outlives the batch that made it.
using LayoutPointer = std::shared_ptr<const PackedLayout>;

/// Borders must ascend strictly from 0 (no empty sequence): STRATA_CHECK.
LayoutPointer make_layout(std::vector<std::int64_t> offsets, std::vector<std::int64_t> sample_positions);
LayoutPointer make_layout(const PackedInput& input);

/// One row a sequence, as after pooling.
LayoutPointer make_pooled_layout(std::vector<std::int64_t> sample_positions, LayoutTensors there = {});

/// All tensors that a GPU reads of an input that lies on the CPU; and the input with what they have become there.
std::vector<torch::Tensor> tensors_of(const PackedInput& input);
PackedInput with_tensors(PackedInput input, const std::vector<torch::Tensor>& tensors);
std::vector<torch::Tensor> tensors_of(const FixedInput& input);
FixedInput with_tensors(FixedInput input, const std::vector<torch::Tensor>& tensors);

}  // namespace strata::models
