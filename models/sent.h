// Small tensors on their way from the host to where a network computes.
#pragma once

#include <torch/types.h>

#include <vector>

namespace strata::models {

/// `tensor`, which lies on the host, there: on the CPU itself, to a GPU from pinned memory, so that the copy stops
/// nobody. LibTorch keeps the pinned block until it has been made.
inline torch::Tensor sent(const torch::Tensor& tensor, torch::Device device) {
    return device.is_cpu() ? tensor : tensor.pin_memory().to(device, tensor.scalar_type(), /*non_blocking=*/true);
}

/// Several in one copy.
std::vector<torch::Tensor> sent_together(const std::vector<torch::Tensor>& tensors, torch::Device device);

}  // namespace strata::models
