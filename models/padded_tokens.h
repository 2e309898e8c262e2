// Packed tokens as rows of one length, for networks that know no other way.
#pragma once

#include <torch/types.h>

#include "models/packed_input.h"

namespace strata::models {

/// int64 [B, longest]; 0 beyond a sequence's end, where the mask, else 1, is 0 too.
struct PaddedTokens {
    torch::Tensor input_ids, attention_mask, token_type_ids;
};

PaddedTokens pad(const PackedInput& input);

}  // namespace strata::models
