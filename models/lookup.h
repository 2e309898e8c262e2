// Rows of a table by number, whose gradient is a sum over all places that a row was taken for.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace strata::models {

/// `table` [rows, width], `ids` int64 [T] -> [T, width]. The row `padding` gets no gradient; -1: all do. As
/// torch::embedding, but that a 16-bit table's gradient is added up in fp32 and rounded once: a row that hundreds of
/// tokens share would lose most of them else.
torch::Tensor lookup(const torch::Tensor& table, const torch::Tensor& ids, std::int64_t padding = -1);

}  // namespace strata::models
