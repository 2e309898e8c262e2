#include "models/bias_activation.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "models/column_sums.h"
#include "models/kernel_data.h"

namespace strata::models {
namespace {

class BiasActivation : public torch::autograd::Function<BiasActivation> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                 const torch::Tensor& bias, ActivationKind kind) {
        RECORD_USER_SCOPE("BiasActivation");
        torch::Tensor out = torch::empty_like(x);
        const std::int64_t width = x.size(1);
        for_kernel_type(x, [&](auto type) {
            using T = decltype(type);
            const T *from = data_of<T>(x), *plus = data_of<T>(bias);
            T* to = mutable_data_of<T>(out);
            parallel_rows(x.size(0), width, [&](std::int64_t row) {
                activation_row(kind, from + row * width, plus, to + row * width, width);
            });
        });
        context->save_for_backward({x, bias});
        context->saved_data["kind"] = static_cast<std::int64_t>(kind);
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &x = saved[0], &bias = saved[1];
        const auto kind = static_cast<ActivationKind>(context->saved_data["kind"].toInt());
        const torch::Tensor grad = grads[0].contiguous();
        torch::Tensor grad_x = torch::empty_like(x);
        const std::int64_t width = x.size(1);
        ColumnSums sums(x.size(0), width);
        for_kernel_type(x, [&](auto type) {
            using T = decltype(type);
            const T *from = data_of<T>(x), *plus = data_of<T>(bias), *above = data_of<T>(grad);
            T* to = mutable_data_of<T>(grad_x);
            sums.for_each_row([&](std::int64_t row, float* row_sums) {
                const std::int64_t at = row * width;
                activation_backward_row(kind, above + at, from + at, plus, to + at, row_sums, width);
            });
        });
        return {grad_x, sums.total().to(bias.scalar_type()), {}};
    }
};

}  // namespace

torch::Tensor bias_activation(const torch::Tensor& x, const torch::Tensor& bias, ActivationKind kind) {
    if (widens(x)) return bias_activation(widened(x), widened(bias), kind).to(x.scalar_type());
    if (kernel_can(x)) return BiasActivation::apply(x.contiguous(), bias.contiguous(), kind);
    const torch::Tensor biased = x + bias;
    if (kind == ActivationKind::relu) return torch::relu(biased);
    return torch::gelu(biased, kind == ActivationKind::gelu ? "none" : "tanh");
}

}  // namespace strata::models
