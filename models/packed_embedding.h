// The sum of a token's word, type and position embeddings, whose backward pass touches the rows of the batch's own
// tokens and no others: where a table's gradient lies in memory already, a step costs nothing for the words that it
// lacks.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/packed_input.h"

namespace strata::models {

struct EmbeddingTables {
    torch::Tensor words, types, positions;  // [rows, width]
    std::int64_t padding_id;                // a word that gets no gradient; -1: none
};

/// [T, width]. Ids must be in range. Differentiable once, in the tables. fp32 and bfloat16 on the CPU run our kernel,
/// other types and devices ATen's operators. A row's gradient is summed over its tokens in their order, in fp32.
torch::Tensor packed_embedding(const EmbeddingTables& tables, const PackedInput& input);

}  // namespace strata::models
