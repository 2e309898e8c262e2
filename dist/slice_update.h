// The passes of an update over this rank's slices, wherever they lie: optim's fused passes on the CPU, or their twins
// on a GPU. Tables of spans are made once a layout; the host waits for a GPU where it asks for results, and nowhere
// else.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "optim/decision.h"
#include "optim/fused_update.h"
#include "optim/plan.h"

struct CUstream_st;  // what cudaStream_t points to

namespace strata::dist {

/// What the host says of an update.
struct UpdateTerms {
    std::span<const optim::GroupHyper> hypers;
    double max_norm = 0;                 ///< that the global norm is clipped to; 0: it is not
    double loss = 0;                     ///< this rank's
    const double* loss_there = nullptr;  ///< in place of it: where it lies on the GPU
};

/// An update for which no host waits: what the host knows is sent ahead, and what is decided stays where it is read.
/// The calls from start_sums() to apply_lamb() put the same work into the stream at each update, whatever the values,
/// so that they can be captured and replayed.
class UpdateOnDevice {
  public:
    virtual ~UpdateOnDevice() = default;

    virtual void send(const UpdateTerms& terms) = 0;

    /// In fp16, before the first update: the scale of the next backward pass. From there on each decide() steps it.
    virtual void set_loss_scale(const optim::LossScale& scale) = 0;

    /// Where it lies on the GPU, for good: in the stream's order what the next backward pass holds.
    virtual float* loss_scale() = 0;

    /// Starts the square sums of the groups' gradients, zeros where they do not count, with the loss after them: to be
    /// added up over ranks, as one buffer.
    virtual BufferView start_sums(bool counts) = 0;

    /// Decides from these, added up, what the updates after it do (optim/decision.h).
    virtual void decide() = 0;

    /// Any optimizer but LAMB. `measures` for telemetry().
    virtual void update(bool measures) = 0;

    /// LAMB's two phases: the first one's sums, zeros where they do not count, are to be added up over ranks.
    virtual BufferView start_lamb(bool counts) = 0;
    virtual void apply_lamb(bool measures) = 0;

    /// After all that, or its replay.
    virtual void ended() = 0;

    /// The sums of the update that ended last, on the host: waits for that point, and for nothing that came later.
    virtual std::span<const double> sums() = 0;

    /// What the last update measured. Waits.
    virtual void telemetry(std::span<optim::GroupTelemetry> telemetry) = 0;
};

class SliceUpdate {
  public:
    virtual ~SliceUpdate() = default;

    /// The spans from here on (optim::build_spans), of memory of that kind.
    virtual void lay_out(std::vector<optim::UpdateSpan> spans) = 0;

    /// Others may have written to the slices' state.
    virtual void state_may_differ() {}

    /// As optim::square_sums_cpu. Of the GPU, the same to rounding in double, and the same bits every time.
    virtual void square_sums(std::span<double> per_group) = 0;

    /// As optim::tile_square_sums_cpu with optim::deterministic_tile; tiles' sums depend on what lies in them alone.
    virtual std::vector<double> tile_square_sums() = 0;

    /// What the updates after it do, as the host has decided.
    virtual void set_control(const optim::UpdateControl& control) = 0;

    /// In place of that and of the updates below; null in host memory.
    virtual UpdateOnDevice* on_device() { return nullptr; }

    /// Any optimizer but LAMB: as optim::fused_update_cpu, with its bits.
    virtual void update(std::span<const optim::GroupHyper> hypers, std::span<optim::GroupTelemetry> telemetry) = 0;

    /// LAMB's two phases: as optim::lamb_moments_cpu and optim::lamb_apply_cpu.
    virtual void lamb_moments(std::span<const optim::GroupHyper> hypers, std::span<double> tensor_sums) = 0;
    virtual void lamb_apply(std::span<const optim::GroupHyper> hypers, std::span<const double> tensor_sums,
                            std::span<optim::GroupTelemetry> telemetry) = 0;

    /// The sum of squares of any run of this memory, which is `run`'s gradients.
    virtual double square_sum(const optim::UpdateSpan& run) = 0;
};

/// For slices in `memory`. A GPU needs a build with CUDA (STRATA_CHECK), and works in the order of `stream`. Keeps a
/// reference to the plan.
std::unique_ptr<SliceUpdate> make_slice_update(Memory memory, const optim::Plan& plan, CUstream_st* stream = nullptr);

}  // namespace strata::dist
