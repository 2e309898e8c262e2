#include "models/fixed_tensors.h"

#include <ATen/ops/from_blob.h>

#include "core/error.h"
#include "optim/pinned_staging.h"

namespace strata::models {

#ifdef STRATA_WITH_CUDA

struct FixedTensors::OnGpu {
    OnGpu(std::size_t bytes, CUstream_st* its_stream) : stream(its_stream), memory(its_stream), staging(bytes) {
        memory.at_least(bytes);
    }
    torch::Tensor tensor(std::int64_t bytes, torch::Device device) {
        return at::for_blob(memory.at_least(0), {bytes})
            .options(torch::TensorOptions(torch::kUInt8).device(device))
            .target_device(device)
            .make_tensor();
    }
    void send(const TensorRun& run, const std::vector<torch::Tensor>& tensors) {
        run.write(tensors, staging.next());
        staging.send(memory.at_least(0), stream);
    }

    CUstream_st* stream;
    optim::DeviceMemory memory;
    optim::PinnedStaging staging;
};

#else

struct FixedTensors::OnGpu {
    OnGpu(std::size_t /*bytes*/, CUstream_st* /*stream*/) { STRATA_CHECK(false, "a GPU's memory without CUDA"); }
    torch::Tensor tensor(std::int64_t /*bytes*/, torch::Device /*device*/) { return {}; }
    void send(const TensorRun& /*run*/, const std::vector<torch::Tensor>& /*tensors*/) {}
};

#endif

FixedTensors::FixedTensors(const std::vector<torch::Tensor>& like, torch::Device device, CUstream_st* stream)
    : run_(like) {
    if (stream != nullptr) gpu_ = std::make_unique<OnGpu>(static_cast<std::size_t>(run_.bytes()), stream);
    bytes_ = gpu_ ? gpu_->tensor(run_.bytes(), device) : torch::empty({run_.bytes()}, torch::kUInt8);
    there_ = run_.views(bytes_);
}

FixedTensors::~FixedTensors() = default;

void FixedTensors::send(const std::vector<torch::Tensor>& tensors) {
    if (gpu_) {
        gpu_->send(run_, tensors);
    } else {
        run_.write(tensors, static_cast<std::byte*>(bytes_.mutable_data_ptr()));
    }
}

}  // namespace strata::models
