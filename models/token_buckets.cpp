#include "models/token_buckets.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/round_up.h"

namespace strata::models {
namespace {

constexpr std::int64_t smallest_step = 64;
constexpr std::int64_t steps_a_doubling = 8;

/// With zeros behind it: [PAD] in nearly all vocabularies, and a type and a position that all tables have.
torch::Tensor with_zeros(const torch::Tensor& ids, std::int64_t size) {
    return torch::cat({ids, torch::zeros({size - ids.size(0)}, ids.options())});
}

}  // namespace

// A quarter of the sequences, who share an eighth of the tokens where a batch fills its bucket's last step: no longer
// than others, so that attention costs little over them.
TokenBuckets::TokenBuckets(std::int64_t sequences, std::int64_t longest)
    : dummies_(sequences / 4 + 1), sequences_(sequences + dummies_), longest_(round_up(longest, smallest_step)) {
    STRATA_CHECK(sequences > 0 && longest > 0, "buckets for {} sequences of {} tokens", sequences, longest);
}

std::int64_t TokenBuckets::tokens(std::int64_t sequences, std::int64_t tokens) const {
    STRATA_CHECK(sequences + dummies_ <= sequences_, "{} sequences in buckets for {}", sequences, sequences_);
    const std::int64_t needed = tokens + (sequences_ - sequences);  // no sequence is empty
    const auto doubling = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(needed)));
    return round_up(needed, std::max(smallest_step, doubling / steps_a_doubling));
}

PackedInput TokenBuckets::padded(const PackedInput& input, std::int64_t bucket) const {
    STRATA_CHECK(bucket >= tokens(input.sequences(), input.tokens()), "{} tokens in a bucket of {}", input.tokens(),
                 bucket);
    PackedInput padded = input;
    const std::int64_t dummies = sequences_ - input.sequences();
    const std::int64_t rows = bucket - input.tokens();
    for (std::int64_t i = 0; i < dummies; ++i) {
        padded.offsets.push_back(input.tokens() + (i + 1) * rows / dummies);
        padded.sample_positions.push_back(-1);
    }
    for (torch::Tensor* ids : {&padded.input_ids, &padded.token_type_ids, &padded.position_ids})
        *ids = with_zeros(*ids, bucket);
    padded.longest = std::max(longest_, bucket / dummies_ + 1);  // whatever the batch: the bucket's own
    return padded;
}

}  // namespace strata::models
