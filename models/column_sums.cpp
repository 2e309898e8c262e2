#include "models/column_sums.h"

#include "models/activation_kernel.h"
#include "models/kernel_data.h"
#include "models/parameter_gradient.h"

namespace strata::models {

torch::Tensor ColumnSums::gradient_of(const torch::Tensor& parameter, std::int64_t first) {
    const std::int64_t columns = parameter.numel();
    float* const total = blocks_.mutable_data_ptr<float>() + first;  // the first block's
    for (std::int64_t block = 1; block < blocks_.size(0); ++block) add_row(total + block * columns_, total, columns);
    const GradientWay way = way_of_gradient(parameter);
    if (way == GradientWay::hand_out) return blocks_[0].narrow(0, first, columns).to(parameter.scalar_type());
    for_kernel_type(parameter.grad(), [&](auto type) {
        auto* const to = mutable_data_of<decltype(type)>(parameter.grad());
        if (way == GradientWay::write) std::fill_n(to, columns, decltype(type){});
        add_row(total, to, columns);
    });
    return {};
}

}  // namespace strata::models
