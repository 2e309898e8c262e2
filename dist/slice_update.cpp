#include "dist/slice_update.h"

#include <optional>
#include <utility>

#include "core/error.h"
#include "dist/slice_update_cuda.h"
#include "optim/resting_pieces.h"

namespace strata::dist {
namespace {

class CpuSliceUpdate final : public SliceUpdate {
  public:
    explicit CpuSliceUpdate(const optim::Plan& plan) : plan_(plan) {}

    void lay_out(std::vector<optim::UpdateSpan> spans) override {
        spans_ = std::move(spans);
        state_may_differ();
    }
    void state_may_differ() override { resting_.reset(); }
    void square_sums(std::span<double> per_group) override { optim::square_sums_cpu(spans_, per_group); }
    std::vector<double> tile_square_sums() override {
        return optim::tile_square_sums_cpu(spans_, optim::deterministic_tile);
    }
    void set_control(const optim::UpdateControl& control) override { control_ = control; }
    void update(std::span<const optim::GroupHyper> hypers, std::span<optim::GroupTelemetry> telemetry) override {
        if (!resting_ && plan_.optimizer.kind == optim::OptimizerKind::adamw) resting_.emplace(spans_);
        optim::fused_update_cpu(plan_.optimizer.kind, spans_, hypers, control_, telemetry,
                                resting_ ? &*resting_ : nullptr);
    }
    void lamb_moments(std::span<const optim::GroupHyper> hypers, std::span<double> tensor_sums) override {
        optim::lamb_moments_cpu(spans_, hypers, control_, tensor_sums);
    }
    void lamb_apply(std::span<const optim::GroupHyper> hypers, std::span<const double> tensor_sums,
                    std::span<optim::GroupTelemetry> telemetry) override {
        optim::lamb_apply_cpu(spans_, hypers, control_, tensor_sums, telemetry);
    }
    double square_sum(const optim::UpdateSpan& run) override {
        double sum = 0;
        optim::square_sums_cpu({&run, 1}, {&sum, 1});
        return sum;
    }

  private:
    const optim::Plan& plan_;
    std::vector<optim::UpdateSpan> spans_;
    std::optional<optim::RestingPieces> resting_;  // none: not known
    optim::UpdateControl control_;
};

}  // namespace

std::unique_ptr<SliceUpdate> make_slice_update(Memory memory, const optim::Plan& plan,
                                               [[maybe_unused]] CUstream_st* stream) {
    if (memory == Memory::host) return std::make_unique<CpuSliceUpdate>(plan);
#ifdef STRATA_WITH_CUDA
    return std::make_unique<CudaSliceUpdate>(plan, stream);
#else
    STRATA_CHECK(false, "slices on a GPU in a build without CUDA");
#endif
}

}  // namespace strata::dist
