#include "models/packed_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "models/activation_kernel.h"
#include "models/column_sums.h"
#include "models/kernel_data.h"
#include "models/packed_product.h"
#include "models/parameter_gradient.h"

namespace strata::models {
namespace {

// Undefined where they went to the gradient that is there.

torch::Tensor bias_gradient(const torch::Tensor& grad, const torch::Tensor& bias) {
    if (!kernel_can(grad)) return grad.sum(0);
    ColumnSums sums(grad.size(0), grad.size(1));
    for_kernel_type(grad, [&](auto type) {
        const auto* from = data_of<decltype(type)>(grad);
        sums.for_each_row([&](std::int64_t row, float* to) { add_row(from + row * grad.size(1), to, grad.size(1)); });
    });
    return sums.gradient_of(bias);
}

torch::Tensor weight_gradient(const torch::Tensor& grad, const torch::Tensor& x, const torch::Tensor& weight) {
    const GradientWay way = way_of_gradient(weight);
    if (way == GradientWay::hand_out) return weight_product(grad, x);
    weight_product_into(weight.grad(), way == GradientWay::add, grad, x);
    return {};
}

/// Several layers of one input.
class Linears : public torch::autograd::Function<Linears> {
  public:
    /// `parameters`: the weights, then as many biases or none.
    static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                                  at::TensorList parameters, std::int64_t layers) {
        const auto count = static_cast<std::size_t>(layers);
        const bool biased = parameters.size() > count;
        const at::TensorList weights = parameters.slice(0, count);
        const bool any_trains = std::any_of(weights.begin(), weights.end(),
                                            [](const torch::Tensor& weight) { return weight.requires_grad(); });
        // Only what a gradient needs is kept.
        torch::autograd::variable_list kept = {any_trains ? x : torch::Tensor()}, out;
        kept.insert(kept.end(), parameters.begin(), parameters.end());
        context->save_for_backward(std::move(kept));
        context->saved_data["biased"] = biased;
        for (std::size_t i = 0; i < count; ++i) {
            out.push_back(forward_product(x, weights[i], biased ? parameters[count + i] : torch::Tensor()));
        }
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const std::size_t layers = grads.size();
        const bool biased = context->saved_data["biased"].toBool();
        const auto needs = [&](std::size_t input) { return context->needs_input_grad(input); };
        const at::TensorList weights = at::TensorList(saved).slice(1, layers);
        torch::autograd::variable_list own;
        for (const torch::Tensor& grad : grads) own.push_back(grad.contiguous());
        torch::autograd::variable_list out(1 + (biased ? 2 : 1) * layers);
        if (needs(0)) out[0] = input_product(own, weights);
        for (std::size_t i = 0; i < layers; ++i) {
            if (needs(1 + i)) out[1 + i] = weight_gradient(own[i], saved[0], weights[i]);
            if (biased && needs(1 + layers + i)) out[1 + layers + i] = bias_gradient(own[i], saved[1 + layers + i]);
        }
        out.emplace_back();  // of `layers`
        return out;
    }
};

}  // namespace

std::vector<torch::Tensor> packed_linears(const torch::Tensor& x, const std::vector<torch::Tensor>& weights,
                                          const std::vector<torch::Tensor>& biases) {
    std::vector<torch::Tensor> parameters = weights;
    parameters.insert(parameters.end(), biases.begin(), biases.end());
    return Linears::apply(x, at::TensorList(parameters), static_cast<std::int64_t>(weights.size()));
}

torch::Tensor packed_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
    return packed_linears(x, {weight}, bias.defined() ? std::vector{bias} : std::vector<torch::Tensor>())[0];
}

}  // namespace strata::models
