#include "models/sent.h"

#include "models/tensor_run.h"

namespace strata::models {

std::vector<torch::Tensor> sent_together(const std::vector<torch::Tensor>& tensors, torch::Device device) {
    if (device.is_cpu()) return tensors;
    const TensorRun run(tensors);
    const torch::Tensor pinned = torch::empty({run.bytes()}, torch::TensorOptions(torch::kUInt8).pinned_memory(true));
    run.write(tensors, static_cast<std::byte*>(pinned.mutable_data_ptr()));
    return run.views(pinned.to(device, /*non_blocking=*/true));
}

}  // namespace strata::models
