#include "models/padded_tokens.h"

#include <torch/types.h>

namespace strata::models {

PaddedTokens pad(const PackedInput& input) {
    const std::int64_t sequences = input.sequences();
    std::int64_t longest = 0;
    for (std::size_t b = 0; b + 1 < input.offsets.size(); ++b) {
        longest = std::max(longest, input.offsets[b + 1] - input.offsets[b]);
    }
    const auto empty = [&] { return torch::zeros({sequences, longest}, torch::kInt64); };
    PaddedTokens padded{empty(), empty(), empty()};
    for (std::int64_t b = 0; b < sequences; ++b) {
        const std::int64_t begin = input.offsets[static_cast<std::size_t>(b)];
        const std::int64_t length = input.offsets[static_cast<std::size_t>(b) + 1] - begin;
        padded.input_ids[b].narrow(0, 0, length).copy_(input.input_ids.narrow(0, begin, length));
        padded.token_type_ids[b].narrow(0, 0, length).copy_(input.token_type_ids.narrow(0, begin, length));
        padded.attention_mask[b].narrow(0, 0, length).fill_(1);
    }
    return padded;
}

}  // namespace strata::models
