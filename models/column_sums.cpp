#include "models/column_sums.h"

#include "models/activation_kernel.h"

namespace strata::models {

torch::Tensor ColumnSums::total() const {
    torch::Tensor sums = torch::zeros({columns_});
    for (std::int64_t block = 0; block < blocks_.size(0); ++block) {
        add_row(blocks_.const_data_ptr<float>() + block * columns_, sums.mutable_data_ptr<float>(), columns_);
    }
    return sums;
}

}  // namespace strata::models
