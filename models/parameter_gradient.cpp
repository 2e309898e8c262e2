#include "models/parameter_gradient.h"

#include <torch/csrc/autograd/graph_task.h>

#include "models/gradient_content.h"

namespace strata::models {
namespace {

bool kernels_add(const torch::Tensor& parameter, const torch::Tensor& grad) {
    if (grad.scalar_type() == parameter.scalar_type()) return true;
    return parameter.is_cpu() && parameter.scalar_type() == torch::kBFloat16 && grad.scalar_type() == torch::kFloat32;
}

bool takes_gradient(const torch::Tensor& parameter) {
    if (!parameter.is_leaf()) return false;
    const torch::Tensor& grad = parameter.grad();
    if (!grad.defined() || !kernels_add(parameter, grad) || grad.layout() != torch::kStrided || !grad.is_contiguous())
        return false;
    // A pass for the gradients of certain tensors (torch::autograd::grad) hands them out and leaves none.
    const auto* wanted = torch::autograd::get_current_graph_task_exec_info();
    return !torch::GradMode::is_enabled() && (wanted == nullptr || wanted->empty());
}

}  // namespace

GradientWay way_of_gradient(const torch::Tensor& parameter) {
    if (!takes_gradient(parameter)) return GradientWay::hand_out;
    return hold_whole(parameter.grad()) ? GradientWay::write : GradientWay::add;
}

GradientWay way_of_rows(const torch::Tensor& table, std::span<const std::int64_t> rows) {
    if (!takes_gradient(table)) return GradientWay::hand_out;
    hold_rows(table.grad(), rows);
    return GradientWay::add;
}

}  // namespace strata::models
