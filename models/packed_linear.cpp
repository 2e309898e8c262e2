#include "models/packed_linear.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/graph_task.h>

#include "models/activation_kernel.h"
#include "models/column_sums.h"
#include "models/kernel_data.h"

namespace strata::models {
namespace {

torch::Tensor sum_of_rows(const torch::Tensor& x) {
    if (!kernel_can(x)) return x.sum(0);
    ColumnSums sums(x.size(0), x.size(1));
    for_kernel_type(x, [&](auto type) {
        const auto* from = data_of<decltype(type)>(x);
        sums.for_each_row([&](std::int64_t row, float* to) { add_row(from + row * x.size(1), to, x.size(1)); });
    });
    return sums.total().to(x.scalar_type());
}

class Linear : public torch::autograd::Function<Linear> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                 const torch::Tensor& weight, const std::optional<torch::Tensor>& bias) {
        // Only what a gradient needs is kept.
        context->save_for_backward({weight.requires_grad() ? x : torch::Tensor(), weight});
        context->saved_data["biased"] = bias.has_value();
        return torch::linear(x, weight, bias);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &x = saved[0], &weight = saved[1];
        const torch::Tensor grad = grads[0].contiguous();
        torch::Tensor grad_x, grad_weight, grad_bias;
        if (context->needs_input_grad(0)) grad_x = grad.mm(weight);
        if (context->needs_input_grad(1)) {
            if (gradient_takes(weight)) {
                weight.grad().addmm_(grad.t(), x);
            } else {
                grad_weight = grad.t().mm(x);
            }
        }
        if (context->saved_data["biased"].toBool() && context->needs_input_grad(2)) grad_bias = sum_of_rows(grad);
        return {grad_x, grad_weight, grad_bias};
    }
};

}  // namespace

torch::Tensor packed_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
    return Linear::apply(x, weight, bias.defined() ? std::optional<torch::Tensor>(bias) : std::nullopt);
}

bool gradient_takes(const torch::Tensor& parameter) {
    const torch::Tensor& grad = parameter.grad();
    if (!grad.defined() || grad.scalar_type() != parameter.scalar_type() || grad.layout() != torch::kStrided)
        return false;
    // A pass for the gradients of certain tensors (torch::autograd::grad) hands them out and leaves none.
    const auto* wanted = torch::autograd::get_current_graph_task_exec_info();
    return !torch::GradMode::is_enabled() && (wanted == nullptr || wanted->empty());
}

}  // namespace strata::models
