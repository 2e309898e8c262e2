// One update, all of it: the step's samples, forward, backward, the sharded update. Who trains makes steps with this
// and nothing else: the run itself (trainer.h) and the range test (lr_finder.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "apps/strata/captured_passes.h"
#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "apps/strata/frozen_outputs.h"
#include "apps/strata/train_plan.h"
#include "data/micro_batches.h"
#include "data/sampler.h"
#include "dist/group_storage.h"
#include "dist/shard_ranks.h"
#include "dist/shared_buffers.h"
#include "dist/zero_optimizer.h"

namespace strata::app {

/// What an update did besides what the optimizer reports. Samples and tokens are those of all ranks.
struct StepWork {
    std::int64_t samples = 0;
    std::int64_t own_samples = 0;  ///< that this rank computed
    std::int64_t tokens = 0;
    double forward_seconds = 0;
    double input_seconds = 0;  ///< of those, until the batches were there
    double backward_seconds = 0;
    std::int64_t backbone_samples = 0;  ///< that went through the whole network: all, or those not kept yet
};

struct MadeStep {
    dist::StepReport report;
    StepWork work;
};

/// Of --shard node, for the plan: what the configuration says, or what the hosts have. 0 where none is needed.
/// Collective.
int ranks_per_host(const Config& config, dist::Communicator& communicator);

class TrainStep {
  public:
    /// Takes the model's parameters into its storage. Keeps references to all but `length`. `gpus`: what gradients and
    /// parameters travel over where they lie on GPUs (device.h); null: `communicator`.
    TrainStep(const Config& config, const Experiment& experiment, const optim::Plan& plan, const RunLength& length,
              dist::Communicator& communicator, dist::Communicator* gpus = nullptr);

    ~TrainStep();
    TrainStep(const TrainStep&) = delete;
    TrainStep& operator=(const TrainStep&) = delete;

    /// Makes the plan's update `step`, crossing the border of a stage where one begins. Collective. `telemetry` has the
    /// norms of parameters and their change measured too. Where the next make is `next` to read parameters, updated
    /// slices may be on their way still when this returns: they come while that forward pass needs others.
    /// On a GPU the report may then be open, too (ZeroOptimizer::settle). `votes`, called once backward is over, are
    /// for the other ranks: the report has their sums.
    MadeStep make(std::int64_t step, bool telemetry = false, bool next = false,
                  const std::function<std::vector<double>()>& votes = {});

    /// From here on batches are padded to a few shapes, and passes made as they are captured (captured_passes.h): on a
    /// GPU what --cuda_graph says, where it can be. Not for a deterministic plan.
    void fix_shapes();

    const dist::ShardRanks& ranks() const { return ranks_; }
    dist::GroupStorage& storage() { return storage_; }
    dist::ZeroOptimizer& optimizer() { return optimizer_; }
    dist::SharedBuffers& buffers() { return buffers_; }
    const FrozenOutputs& frozen_outputs() const { return frozen_outputs_; }

  private:
    using Samples = std::span<const std::int64_t>;
    struct MicroBatch {
        data::Positions positions;  ///< in the global batch
        std::vector<std::int64_t> samples;
        std::int64_t index;  ///< among all ranks' micro-batches of the step
    };
    struct Loss {  // of a micro-batch, where it was computed
        std::int64_t index;
        torch::Tensor value;
    };

    data::Dealt deal(Samples batch) const;
    std::vector<MicroBatch> own_micro_batches(Samples batch, const data::Dealt& dealt) const;
    models::Input input_of(const MicroBatch& part, StepWork& work) const;
    torch::Tensor loss_of(const MicroBatch& part, const models::DropoutKey& dropout, StepWork& work);
    Samples samples_of(std::int64_t step, StepWork& work);
    models::DropoutKey dropout_key(std::int64_t step) const;
    void keep_outputs(Samples batch, const std::vector<MicroBatch>& own, StepWork& work);
    torch::Tensor passes_of_fixed_shape(std::int64_t step, StepWork& work);
    std::vector<Loss> forward_backward(std::int64_t step, StepWork& work);
    std::vector<double> read(const std::vector<Loss>& losses) const;

    const Config& config_;
    const Experiment& experiment_;
    const optim::Plan& plan_;
    RunLength length_;
    dist::Communicator& communicator_;
    torch::Device device_;
    data::Sampler sampler_;
    dist::ShardRanks ranks_;
    dist::GroupStorage storage_;
    dist::ZeroOptimizer optimizer_;
    dist::SharedBuffers buffers_;
    FrozenOutputs frozen_outputs_;
    std::optional<CapturedPasses> passes_;
    std::int64_t layout_ = -1;  ///< the storage's, when frozen_outputs_ last looked at the model
};

}  // namespace strata::app
