// One update of all groups by all ranks (ZeRO: Rajbhandari et al. 2020, arXiv 1910.02054, stages 1 and 2).
//
//   1. gradients are summed over ranks, each slice's by its owner, while the backward pass runs (gradient_reducer.h)
//   2. square sums of the own slices and the loss go into one small all-reduce: every group's norm, the global norm,
//      the clip coefficient, and whether everything is finite (optim/decision.h); on a GPU no host waits for it
//   3. one fused update of the own slices, each group at its own rate, clipping folded in; LAMB's in two passes around
//      a small all-reduce of every tensor's norms
//   4. updated slices are gathered, in buckets of equal bytes whatever groups they hold, in the network's own type,
//   while
//      the next forward pass comes to them if the caller has it so (parameter_gather.h)
//   5. with telemetry, the update's sums of squares go into one more small all-reduce: norms of weights and changes
//
// The number of collectives is 1 + ceil(gradient bytes / reduce_bytes) + ceil(parameter bytes / gather_bytes), under
// stage 2 the reductions once for each micro-batch: it depends on bytes (padding included), never on how many groups
// there are. For a fixed number of ranks every bit of the result is the same each time, and the same on every rank. If
// a gradient or the loss is not finite, all ranks skip the update: nothing changes by a bit, no group's step counts.
// In fp16 the loss is scaled for the backward pass (optim/loss_scale.h) and the update takes the scale out again; a
// skipped update lowers it. Every rank sees the same norms, so all have the same scale. Where a GPU decides, the scale
// lies there and is read there: a backward pass begins before the host knows how the update before has ended.
//
// A deterministic plan gives the same bits on any number of ranks, if the step is cut into the same micro-batches and
// micro-batch j is rank j mod N's: sums of gradients have the order of micro-batches, and norms are sums over fixed
// tiles of the groups, in the order of tiles. (Telemetry's norms are sums of ranks' sums all the same.)
//
// With a copy of the state on each host (shard_ranks.h), gathers stay inside a copy, and reductions go on from copy to
// copy, ceil(gradient bytes / reduce_bytes) more collectives; the copies then make one and the same update.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "dist/gradient_reducer.h"
#include "dist/group_storage.h"
#include "dist/parameter_gather.h"
#include "dist/shard_ranks.h"
#include "dist/slice_update.h"
#include "optim/loss_scale.h"
#include "optim/plan.h"
#include "optim/replayed_work.h"

namespace strata::dist {

struct StepInput {
    std::int64_t step = 0;       ///< index of the update in the run: sets the rates
    double max_grad_norm = 1.0;  ///< clip the global norm as torch.nn.utils.clip_grad_norm_ does; 0: do not
    double loss = 0;             ///< this rank's part; parts sum to the loss
    bool telemetry = false;      ///< also measure parameters and their change: a logged step
    /// Returns while updated slices are on their way. Until backward() begins, nobody may read a parameter without
    /// await_parameters().
    bool leaves_gather = false;
    /// On a GPU: returns without waiting for what is decided there. The report is to be settled before the storage's
    /// step counts or the loss scale are read, and before the step after the next one. A stage's last step waits.
    bool leaves_report = false;
    const double* loss_there = nullptr;  ///< in place of `loss`: where it lies on that GPU
    /// In a deterministic plan, in place of `loss`: of every micro-batch of the step, 0 where another rank has it.
    std::span<const double> micro_losses = {};
    /// What this rank has to tell the others, as many numbers on each: they travel with the norms, for a message of
    /// their own would wait behind slices on their way. (Not where those travel from GPU to GPU.)
    std::span<const double> votes = {};
};

/// Wall-clock seconds of the parts of one update.
struct StepSeconds {
    double reduce = 0;
    double norm = 0;
    double update = 0;
    double gather = 0;
};

struct StepReport {
    std::int64_t step = 0;
    bool settled = true;                   ///< false: loss, norms and `skipped` are not known yet
    double loss = 0;                       ///< of the whole global batch
    double grad_norm = 0;                  ///< global, before clipping
    std::vector<double> group_grad_norms;  ///< before clipping; 0 for frozen groups
    std::vector<double> learning_rates;    ///< of each group at this step; 0 for frozen groups
    // With telemetry, of each group, else empty:
    std::vector<double> group_weight_norms;   ///< after the update, frozen groups' too
    std::vector<double> group_update_ratios;  ///< ‖after - before‖ / ‖after‖; 0 when frozen, skipped or all zero
    bool skipped = false;
    std::vector<double> votes;                ///< their sums over all ranks, copies too
    double loss_scale = 1;                    ///< of this update's backward pass
    std::int64_t reductions_in_backward = 0;  ///< that left before the backward pass had ended
    StepSeconds seconds;
    TrafficCounters traffic;  ///< what this rank sent for it
    Traffic across;           ///< of that, to other copies' owners
};

/// Bytes of one large collective, all ranks' parts together: small enough that several are under way, large enough that
/// latency does not count.
struct ZeroOptions {
    std::int64_t reduce_bytes = std::int64_t{4} << 20;
    std::int64_t gather_bytes = std::int64_t{16} << 20;
    bool overlap = true;            ///< gradients leave while the backward pass runs
    CUstream_st* stream = nullptr;  ///< of a GPU, that the model computes in
    /// On a GPU, captures an update's work in a CUDA graph and replays it: norms, decision, update, and what does not
    /// overlap the passes, reductions and gathers. Needs a stream of its own; not for a deterministic plan.
    bool cuda_graph = false;
    /// With cuda_graph, what passes() are captured in; none: they are made directly.
    optim::ReplayedWork::MakeRecording pass_recordings = {};
    optim::ReplayLimits replay = {};
};

class ZeroOptimizer {
  public:
    /// Keeps references to plan and storage, which is the storage of ranks.owner().
    ZeroOptimizer(const optim::Plan& plan, GroupStorage& storage, const ShardRanks& ranks, ZeroOptions options = {});

    /// A micro-batch's backward pass. The storage must have entered the step, zero_gradients() called before the first.
    /// The loss must be this rank's part of a sum: the caller has divided by the global number of samples. Undefined on
    /// a rank that has no such micro-batch; all ranks call this equally often, `last` the last time.
    void backward(const torch::Tensor& loss, bool last);

    /// All of a step's passes, with their reductions: `work` zeroes the gradients and calls backward() for each
    /// micro-batch. With pass_recordings it is captured as soon as it can be, and from then on replayed instead of
    /// called: calls with one `shape`, which is the same on all ranks, must then differ in nothing but what they read
    /// from the GPU's memory.
    void passes(std::int64_t shape, const std::function<void()>& work);

    /// The update. Under stage 1 the caller may have run the backward passes itself.
    StepReport step(const StepInput& input);

    /// Completes the last step's report, or the one's before.
    void settle(StepReport& report);

    /// Returns when all parameters are complete. Collective.
    void await_parameters() { gather_.wait(); }

    /// Returns when these parameters of the model are complete.
    void await_parameters(const std::vector<torch::Tensor>& parameters);

    /// Brings every rank's slices of all groups to all: after slices (masters, where there are some) were loaded from a
    /// checkpoint.
    void gather_parameters();

    /// The model's parameters in fp32, by the names in `like`: masters of all ranks, where there are some. Collective.
    NamedParameters full_parameters(const NamedParameters& like);

    /// In fp16 alone; part of a run's state. As the last step that was settled has left it.
    const std::optional<optim::LossScale>& loss_scale() const { return loss_scale_; }
    void set_loss_scale(const optim::LossScale& scale);

    /// How updates came to the GPU, and the passes of passes(); all zero without cuda_graph.
    optim::ReplayCounts replays() const { return updates_ ? updates_->work.counts() : optim::ReplayCounts(); }
    optim::ReplayCounts pass_replays() const { return passes_ ? passes_->work.counts() : optim::ReplayCounts(); }

  private:
    /// Work that is captured, and what its operations count.
    struct Replays {
        optim::ReplayedWork work;
        std::map<std::int64_t, std::vector<TrafficCounters>> traffic = {};  ///< by keys: of each communicator
    };

    UpdateOnDevice* decides_there() const;
    torch::Tensor scaled(const torch::Tensor& loss) const;
    void begin_step();
    void sum_over_ranks(std::span<double> values);
    void lay_out();
    void step_on_device(UpdateOnDevice& there, const StepInput& input, StepReport& report);
    void step_on_host(const StepInput& input, StepReport& report);
    void launch(UpdateOnDevice& there, bool measures);
    optim::ReplayedWork::Way run(Replays& replays, std::int64_t key, const std::function<void()>& work);
    void gather(const StepInput& input);
    void measure(const StepInput& input, StepReport& report);
    bool ends_stage(std::int64_t step) const;
    void learn();
    void fill_in(std::span<const double> sums, double loss_scale, StepReport& report) const;
    double sum_tiles(const StepInput& input, std::span<double> group_sums, std::vector<double>& votes);
    double scale() const { return loss_scale_ ? static_cast<double>(loss_scale_->scale) : 1.0; }
    std::vector<optim::GroupHyper> next_hypers(std::int64_t step);
    void update(std::int64_t step, std::span<optim::GroupTelemetry> telemetry);
    void weigh(std::vector<optim::GroupTelemetry> sums, StepReport& report);
    double weight_square_sum(std::size_t group);

    /// A step that was decided on a GPU.
    struct Decided {
        std::int64_t step = 0;
        double scale = 1;
        std::vector<double> sums;  ///< once known: of each group, and the loss
    };

    const optim::Plan& plan_;
    GroupStorage& storage_;
    ShardRanks ranks_;
    ZeroOptions options_;
    GradientReducer reducer_;
    std::optional<optim::LossScale> loss_scale_;
    ParameterGather gather_;
    std::unique_ptr<SliceUpdate> slices_;
    std::vector<std::int32_t> tensors_;       // of each of LAMB's sums
    std::optional<TrafficCounters> traffic_;  // as the step found it
    Traffic across_;                          // likewise
    std::optional<Decided> undecided_;        // the last one, until its sums are here
    std::deque<Decided> learned_;             // of which they are: the last one, and the one before
    std::int64_t layout_ = 0;                 // the storage's, when the spans were made
    std::int64_t handed_out_ = 0;             // likewise, at the last update
    std::optional<Replays> updates_, passes_;
    bool reduced_in_passes_ = false;      // this step's gradients, by passes()
    std::int64_t started_in_passes_ = 0;  // buckets, before their backward pass had ended
    std::vector<double> frozen_weights_;  // square sums of this rank's slices of frozen groups; empty: not known
};

}  // namespace strata::dist
