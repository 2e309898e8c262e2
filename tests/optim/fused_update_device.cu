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

/// A case's memory on the device, with tables that point to it.
class DeviceCase {
  public:
    DeviceCase(const UpdateCase& memory, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
               const UpdateControl& control)
        : param_(memory.param.data(), memory.param.size()),
          grad_(memory.grad.data(), memory.grad.size()),
          first_(memory.first.data(), memory.first.size()),
          second_(memory.second.data(), memory.second.size()),
          rounded_(memory.rounded.data(), memory.rounded.size()),
          grad16_(memory.grad16.data(), memory.grad16.size()),
          moved_(moved(memory, spans)),
          tiles_(first_tiles(moved_)),
          zero_sums_(static_cast<std::size_t>(tiles_.back())),
          device_spans_(moved_.data(), moved_.size()),
          device_tiles_(tiles_.data(), tiles_.size()),
          device_hypers_(hypers.data(), hypers.size()),
          device_control_(&control, 1),
          tile_sums_(zero_sums_.data(), zero_sums_.size()) {}

    UpdateTables tables(bool measure, const double* tensor_sums = nullptr) const {
        return {device_spans_.data(),
                device_tiles_.data(),
                device_hypers_.data(),
                device_control_.data(),
                static_cast<std::int64_t>(moved_.size()),
                tiles_.back(),
                measure ? tile_sums_.data() : nullptr,
                tensor_sums};
    }

    void fetch(UpdateCase& memory) const {
        STRATA_CUDA_CHECK(cudaDeviceSynchronize());
        param_.fetch(memory.param.data());
        first_.fetch(memory.first.data());
        second_.fetch(memory.second.data());
        rounded_.fetch(memory.rounded.data());
    }

  private:
    std::vector<UpdateSpan> moved(const UpdateCase& memory, std::span<const UpdateSpan> spans) const {
        std::vector<UpdateSpan> out(spans.begin(), spans.end());
        for (UpdateSpan& span : out) {
            const std::ptrdiff_t at = span.exp_avg - memory.first.data();
            if (span.param != nullptr) span.param = param_.data() + at;
            if (span.grad != nullptr) span.grad = grad_.data() + at;
            span.exp_avg = first_.data() + at;
            span.exp_avg_sq = second_.data() + at;
            if (span.rounded != nullptr) span.rounded = rounded_.data() + at;
            if (span.grad16 != nullptr) span.grad16 = grad16_.data() + at;
        }
        return out;
    }

    DeviceCopy<float> param_, grad_, first_, second_;
    DeviceCopy<std::uint16_t> rounded_, grad16_;
    std::vector<UpdateSpan> moved_;
    std::vector<std::int64_t> tiles_;
    std::vector<SumPair> zero_sums_;
    DeviceCopy<UpdateSpan> device_spans_;
    DeviceCopy<std::int64_t> device_tiles_;
    DeviceCopy<GroupHyper> device_hypers_;
    DeviceCopy<UpdateControl> device_control_;
    DeviceCopy<SumPair> tile_sums_;
};

OptimizerKind kind_of(Pass pass) {
    if (pass == Pass::adam) return OptimizerKind::adam;
    return pass == Pass::sgd ? OptimizerKind::sgd : OptimizerKind::adamw;
}

/// No bins: a case's memory is all that is looked at.
constexpr TileBins no_bins{};

}  // namespace

void update_on_device(Pass pass, UpdateCase& memory, std::span<const UpdateSpan> spans,
                      std::span<const GroupHyper> hypers, const UpdateControl& control,
                      const std::vector<double>& tensor_sums) {
    const DeviceCase device(memory, spans, hypers, control);
    const DeviceCopy<double> device_sums(tensor_sums.data(), tensor_sums.size());
    if (pass == Pass::lamb_moments) {
        lamb_moments_cuda(device.tables(true), no_bins, nullptr, nullptr);
    } else if (pass == Pass::lamb_apply) {
        lamb_apply_cuda(device.tables(false, device_sums.data()), nullptr);
    } else {
        fused_update_cuda(kind_of(pass), device.tables(false), nullptr);
    }
    device.fetch(memory);
}

std::vector<double> sums_on_device(Pass pass, UpdateCase& memory, std::span<const UpdateSpan> spans,
                                   std::span<const GroupHyper> hypers, const std::vector<std::int64_t>& bins,
                                   int width) {
    const UpdateControl control;
    const DeviceCase device(memory, spans, hypers, control);
    std::vector<double> sums((bins.size() - 1) * static_cast<std::size_t>(width));
    const DeviceCopy<std::int64_t> first(bins.data(), bins.size());
    const DeviceCopy<double> out(sums.data(), sums.size());
    const TileBins device_bins{first.data(), static_cast<std::int64_t>(bins.size()) - 1};
    const UpdateTables tables = device.tables(true);
    if (pass == Pass::lamb_moments) {
        lamb_moments_cuda(tables, device_bins, out.data(), nullptr);
    } else if (pass == Pass::square_sum) {
        square_sums_cuda(tables, device_bins, out.data(), nullptr);
    } else {
        fused_update_cuda(kind_of(pass), tables, nullptr);
        telemetry_cuda(tables, device_bins, reinterpret_cast<GroupTelemetry*>(out.data()), nullptr);
    }
    device.fetch(memory);
    out.fetch(sums.data());
    return sums;
}

}  // namespace strata::optim::testing
