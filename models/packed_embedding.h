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

/// [T, width]. Ids must be in range and lie beside the tables. Differentiable once, in the tables. fp32 and bfloat16 on
/// the CPU, and fp16 too on a GPU, run our kernels, other types ATen's operators. A row's gradient is summed over its
/// tokens in fp32, in an order that the ids alone decide: the tokens' on the CPU, chunks of it on a GPU.
torch::Tensor packed_embedding(const EmbeddingTables& tables, const PackedInput& input);

}  // namespace strata::models
