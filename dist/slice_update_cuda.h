// The GPU's half of slice_update.h. Everything runs in the order of one stream, the one that LibTorch computes in;
// tables lie in device memory and are copied there once a layout, rates once an update.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "dist/slice_update.h"
#include "optim/cuda_handles.h"
#include "optim/fused_update_cuda.h"
#include "optim/pinned_staging.h"

namespace strata::dist {

class CudaSliceUpdate final : public SliceUpdate, private UpdateOnDevice {
  public:
    CudaSliceUpdate(const optim::Plan& plan, CUstream_st* stream);

    void lay_out(std::vector<optim::UpdateSpan> spans) override;
    void square_sums(std::span<double> per_group) override;
    std::vector<double> tile_square_sums() override;
    void set_control(const optim::UpdateControl& control) override;
    UpdateOnDevice* on_device() override { return this; }
    void update(std::span<const optim::GroupHyper> hypers, std::span<optim::GroupTelemetry> telemetry) override;
    void lamb_moments(std::span<const optim::GroupHyper> hypers, std::span<double> tensor_sums) override;
    void lamb_apply(std::span<const optim::GroupHyper> hypers, std::span<const double> tensor_sums,
                    std::span<optim::GroupTelemetry> telemetry) override;
    double square_sum(const optim::UpdateSpan& run) override;

  private:
    /// Spans with their tables in device memory.
    struct Table {
        explicit Table(CUstream_st* stream) : spans(stream), first_tiles(stream), tile_sums(stream) {}
        optim::DeviceMemory spans, first_tiles, tile_sums;
        std::int64_t span_count = 0;
        std::int64_t tile_count = 0;

        void fill(const std::vector<optim::UpdateSpan>& from, CUstream_st* stream);
        optim::UpdateTables tables(bool measures);
    };

    /// What changes at each update, as it lies in device memory; the groups' GroupHypers follow.
    struct Sent {
        double max_norm = 0;
        double loss = 0;
    };

    void send(const UpdateTerms& terms) override;
    void set_loss_scale(const optim::LossScale& scale) override;
    float* loss_scale() override { return &scale_->scale; }
    BufferView start_sums(bool counts) override;
    void decide() override;
    void update(bool measures) override;
    BufferView start_lamb(bool counts) override;
    void apply_lamb(bool measures) override;
    void ended() override;
    std::span<const double> sums() override;
    void telemetry(std::span<optim::GroupTelemetry> telemetry) override;

    Sent* sent() { return reinterpret_cast<Sent*>(sent_.at_least(0)); }
    optim::UpdateTables tables(const optim::GroupHyper* hypers, bool measures);
    optim::UpdateTables sent_tables(bool measures);
    optim::UpdateTables uploaded_tables(std::span<const optim::GroupHyper> hypers, bool measures);

    const optim::Plan& plan_;
    CUstream_st* stream_;
    Table updated_{stream_};  // as build_spans made them
    Table summed_{stream_};   // gradients of a group that touch as one span, so that sums know nothing of decay
    Table any_{stream_};      // square_sum's
    std::int64_t sums_ = 0;   // LAMB's
    optim::DeviceMemory updated_bins_{stream_}, summed_bins_{stream_}, tensor_bins_{stream_}, hypers_{stream_},
        control_{stream_}, out_{stream_}, tensor_sums_{stream_}, sent_{stream_}, scale_memory_{stream_};
    optim::LossScale* scale_ = nullptr;                    // there; null: none
    optim::DeviceMemory decided_from_{stream_};            // of each group, and the loss
    optim::PinnedStaging staging_;                         // sent_'s
    std::unique_ptr<double[], void (*)(double*)> copied_;  // decided_from_ on the host, pinned: copying stops nobody
    optim::CudaEvent ended_;
};

}  // namespace strata::dist

#endif
