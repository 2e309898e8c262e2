// The GPU's half of slice_update.h. Everything runs in the order of the compute stream (CUDA's default one, LibTorch's
// too); tables lie in device memory and are copied there once a layout, rates once an update.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "dist/slice_update.h"
#include "optim/cuda_handles.h"
#include "optim/fused_update_cuda.h"

namespace strata::dist {

class CudaSliceUpdate final : public SliceUpdate, private DecisionOnDevice {
  public:
    explicit CudaSliceUpdate(const optim::Plan& plan);

    void lay_out(std::vector<optim::UpdateSpan> spans) override;
    void square_sums(std::span<double> per_group) override;
    std::vector<double> tile_square_sums() override;
    void set_control(const optim::UpdateControl& control) override;
    DecisionOnDevice* decision() override { return this; }
    void update(std::span<const optim::GroupHyper> hypers, std::span<optim::GroupTelemetry> telemetry) override;
    void lamb_moments(std::span<const optim::GroupHyper> hypers, std::span<double> tensor_sums) override;
    void lamb_apply(std::span<const optim::GroupHyper> hypers, std::span<const double> tensor_sums,
                    std::span<optim::GroupTelemetry> telemetry) override;
    double square_sum(const float* values, std::int64_t elements) override;

  private:
    /// Spans with their tables in device memory.
    struct Table {
        optim::DeviceMemory spans, first_tiles, tile_sums;
        std::int64_t span_count = 0;
        std::int64_t tile_count = 0;

        void fill(const std::vector<optim::UpdateSpan>& from);
        optim::UpdateTables tables(bool measures);
    };

    BufferView start_sums(bool counts, const double* loss) override;
    void decide(const optim::DecisionTerms& terms) override;
    std::span<const double> sums() override;

    optim::UpdateTables tables(std::span<const optim::GroupHyper> hypers, bool measures);
    void fetch_telemetry(const optim::UpdateTables& tables, std::span<optim::GroupTelemetry> telemetry);

    const optim::Plan& plan_;
    Table updated_;          // as build_spans made them
    Table summed_;           // gradients of a group that touch as one span, so that sums know nothing of decay
    Table any_;              // square_sum's
    std::int64_t sums_ = 0;  // LAMB's
    optim::DeviceMemory updated_bins_, summed_bins_, tensor_bins_, hypers_, control_, out_, tensor_sums_;
    optim::DeviceMemory decided_from_;                     // of each group, and the loss
    std::unique_ptr<double[], void (*)(double*)> copied_;  // the same on the host, pinned: copying stops nobody
    optim::CudaEvent copied_at_;
};

}  // namespace strata::dist

#endif
