#include "fused_update_device.h"

#include "optim/cuda_check.h"
#include "optim/fused_update_cuda.h"

#include <cuda_runtime_api.h>

namespace strata::optim::testing {

namespace {

template <typename Value>
class DeviceCopy {
  public:
    DeviceCopy(const Value* host, std::size_t size) : bytes_(size * sizeof(Value)) {
        STRATA_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&data_), bytes_));
        STRATA_CUDA_CHECK(cudaMemcpy(data_, host, bytes_, cudaMemcpyHostToDevice));
    }
    ~DeviceCopy() { cudaFree(data_); }
    DeviceCopy(const DeviceCopy&) = delete;
    DeviceCopy& operator=(const DeviceCopy&) = delete;
    void fetch(Value* host) const { STRATA_CUDA_CHECK(cudaMemcpy(host, data_, bytes_, cudaMemcpyDeviceToHost)); }
    Value* data() const { return data_; }

  private:
    Value* data_ = nullptr;
    std::size_t bytes_;
};

}  // namespace

void update_on_device(OptimizerKind kind, UpdateCase& memory, std::span<const UpdateSpan> spans,
                      std::span<const GroupHyper> hypers, const UpdateControl& control) {
    const DeviceCopy<float> param(memory.param.data(), memory.param.size());
    const DeviceCopy<float> grad(memory.grad.data(), memory.grad.size());
    const DeviceCopy<float> first(memory.first.data(), memory.first.size());
    const DeviceCopy<float> second(memory.second.data(), memory.second.size());
    std::vector<UpdateSpan> moved(spans.begin(), spans.end());
    for (UpdateSpan& span : moved) {
        const std::ptrdiff_t at = span.param - memory.param.data();
        span.param = param.data() + at;
        span.grad = grad.data() + at;
        span.exp_avg = first.data() + at;
        span.exp_avg_sq = second.data() + at;
    }
    const std::vector<std::int64_t> tiles = first_tiles(moved);
    const DeviceCopy<UpdateSpan> device_spans(moved.data(), moved.size());
    const DeviceCopy<std::int64_t> device_tiles(tiles.data(), tiles.size());
    const DeviceCopy<GroupHyper> device_hypers(hypers.data(), hypers.size());
    const DeviceCopy<UpdateControl> device_control(&control, 1);
    fused_update_cuda(kind,
                      {device_spans.data(), device_tiles.data(), device_hypers.data(), device_control.data(),
                       static_cast<std::int64_t>(moved.size()), tiles.back()},
                      nullptr);
    STRATA_CUDA_CHECK(cudaDeviceSynchronize());
    param.fetch(memory.param.data());
    first.fetch(memory.first.data());
    second.fetch(memory.second.data());
}

}  // namespace strata::optim::testing
