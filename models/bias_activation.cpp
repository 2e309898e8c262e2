#include "models/bias_activation.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "models/activation_grid.h"
#include "models/column_sums.h"
#include "models/cuda_pass.h"
#include "models/cuda_queue.h"
#include "models/kernel_data.h"

namespace strata::models {
namespace {

void forward_on_cpu(ActivationKind kind, const torch::Tensor& x, const torch::Tensor& bias, torch::Tensor& out) {
    const std::int64_t width = x.size(1);
    for_kernel_type(x, [&](auto type) {
        using T = decltype(type);
        const T *from = data_of<T>(x), *plus = data_of<T>(bias);
        T* to = mutable_data_of<T>(out);
        parallel_rows(x.size(0), width, [&](std::int64_t row) {
            activation_row(kind, from + row * width, plus, to + row * width, width);
        });
    });
}

void forward_on_gpu(ActivationKind kind, const torch::Tensor& x, const torch::Tensor& bias, torch::Tensor& out) {
    for_cuda_type(x, [&](auto type) {
        using T = decltype(type);
        run_cuda_pass(
            ActivationForward<T>{kind, x.size(0), x.size(1), data_of<T>(x), data_of<T>(bias), mutable_data_of<T>(out)},
            cuda_queue_of(x));
    });
}

/// Writes the gradient of x; returns the bias's, undefined where it went to its place.
torch::Tensor backward_on_cpu(ActivationKind kind, const torch::Tensor& grad, const torch::Tensor& x,
                              const torch::Tensor& bias, torch::Tensor& grad_x) {
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
    return sums.gradient_of(bias);
}

torch::Tensor backward_on_gpu(ActivationKind kind, const torch::Tensor& grad, const torch::Tensor& x,
                              const torch::Tensor& bias, torch::Tensor& grad_x) {
    torch::Tensor grad_bias = torch::empty_like(bias);
    const torch::Tensor tiles = tile_room(x, 1);
    for_cuda_type(x, [&](auto type) {
        using T = decltype(type);
        run_cuda_pass(ActivationBackward<T>{kind, x.size(0), x.size(1), data_of<T>(grad), data_of<T>(x),
                                            data_of<T>(bias), mutable_data_of<T>(grad_x), mutable_data_of<T>(grad_bias),
                                            tiles.mutable_data_ptr<float>()},
                      cuda_queue_of(x));
    });
    return grad_bias;
}

class BiasActivation : public torch::autograd::Function<BiasActivation> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                 const torch::Tensor& bias, ActivationKind kind) {
        RECORD_USER_SCOPE("BiasActivation");
        torch::Tensor out = torch::empty_like(x);
        (x.is_cpu() ? forward_on_cpu : forward_on_gpu)(kind, x, bias, out);
        context->save_for_backward({x, bias});
        context->saved_data["kind"] = static_cast<std::int64_t>(kind);
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &x = saved[0], &bias = saved[1];
        const auto kind = static_cast<ActivationKind>(context->saved_data["kind"].toInt());
        torch::Tensor grad_x = torch::empty_like(x);
        const torch::Tensor grad_bias =
            (x.is_cpu() ? backward_on_cpu : backward_on_gpu)(kind, grads[0].contiguous(), x, bias, grad_x);
        return {grad_x, grad_bias, {}};
    }
};

}  // namespace

torch::Tensor bias_activation(const torch::Tensor& x, const torch::Tensor& bias, ActivationKind kind) {
    if (widens(x)) return bias_activation(widened(x), widened(bias), kind).to(x.scalar_type());
    if (has_kernel(x)) return BiasActivation::apply(x.contiguous(), bias.contiguous(), kind);
    const torch::Tensor biased = x + bias;
    if (kind == ActivationKind::relu) return torch::relu(biased);
    return torch::gelu(biased, kind == ActivationKind::gelu ? "none" : "tanh");
}

}  // namespace strata::models
