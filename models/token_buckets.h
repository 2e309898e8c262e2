// Batches padded to one of a few shapes, for what is captured once a shape and replayed (docs/gpu.md).
//
// A packed batch has as many tokens as its sequences happen to have. Here it is filled up to the next step of a ladder,
// eight steps to each doubling, by dummy sequences behind its own. Rows know nothing of other sequences' rows, so
// dummies change no output of a sample; and where their losses count nothing (losses.h), the gradients that come down
// to their rows are zeros, and so is what they add to a parameter's. All shapes have as many sequences, so the number
// of tokens names a shape.
#pragma once

#include <cstdint>

#include "models/packed_input.h"

namespace strata::models {

class TokenBuckets {
  public:
    /// For batches of up to so many sequences of up to `longest` tokens.
    TokenBuckets(std::int64_t sequences, std::int64_t longest);

    /// In a padded batch: at least one of them a dummy.
    std::int64_t sequences() const { return sequences_; }

    /// How many tokens such a batch has when it is padded.
    std::int64_t tokens(std::int64_t sequences, std::int64_t tokens) const;

    /// The batch, which may be empty, with dummies behind it, in a bucket of at least tokens(its own): STRATA_CHECK.
    PackedInput padded(const PackedInput& input, std::int64_t bucket) const;

  private:
    std::int64_t dummies_;  // of a full batch
    std::int64_t sequences_;
    std::int64_t longest_;
};

}  // namespace strata::models
