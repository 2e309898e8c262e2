#include "apps/strata/model_guard.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <mutex>

namespace strata::app {

ModelGuard::ModelGuard(const models::Model& model) {
    for (const auto& [name, tensor] : model.named_parameter_list()) {
        parameters_.push_back({tensor, tensor.detach(), tensor.grad(), tensor.requires_grad()});
    }
    for (const auto& [name, tensor] : model.named_buffer_list()) {
        buffers_.push_back({tensor, tensor.detach().clone()});
    }
    at::Generator random = at::detail::getDefaultCPUGenerator();
    const std::lock_guard lock(random.mutex());
    random_state_ = random.get_state();
}

ModelGuard::~ModelGuard() {
    const torch::NoGradGuard no_grad;
    for (Parameter& parameter : parameters_) {
        parameter.tensor.mutable_grad() = torch::Tensor();
        parameter.tensor.set_data(parameter.home);
        parameter.tensor.set_requires_grad(parameter.requires_grad);
        parameter.tensor.mutable_grad() = parameter.gradient;
    }
    for (Buffer& buffer : buffers_) buffer.tensor.copy_(buffer.values);
    at::Generator random = at::detail::getDefaultCPUGenerator();
    const std::lock_guard lock(random.mutex());
    random.set_state(random_state_);
}

}  // namespace strata::app
