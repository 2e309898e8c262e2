// Sums over the rows of a packed tensor, for the gradients of biases and the like, in fp32: blocks of rows add up
// apart, the blocks then in their order. So the bits do not depend on the number of threads.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>

#include "models/parallel.h"

namespace strata::models {

class ColumnSums {
  public:
    ColumnSums(std::int64_t rows, std::int64_t columns)
        : rows_(rows),
          columns_(columns),
          blocks_(torch::zeros({std::max<std::int64_t>((rows + block_rows - 1) / block_rows, 1), columns})) {}

    /// Calls body(row, sums of its block) for every row, threaded.
    template <typename Body>
    void for_each_row(const Body& body) {
        float* sums = blocks_.mutable_data_ptr<float>();
        parallel_for(0, blocks_.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
            const std::int64_t last = std::min(end * block_rows, rows_);
            for (std::int64_t row = begin * block_rows; row < last; ++row) {
                body(row, sums + row / block_rows * columns_);
            }
        });
    }

    /// The sums of the columns from `first` on as a parameter's gradient, [columns of the parameter]: rounded once to
    /// the gradient's type. Undefined where they were added to the gradient that is there (parameter_gradient.h). Once
    /// for each column.
    torch::Tensor gradient_of(const torch::Tensor& parameter, std::int64_t first = 0);

  private:
    static constexpr std::int64_t block_rows = 64;
    std::int64_t rows_, columns_;
    torch::Tensor blocks_;
};

}  // namespace strata::models
