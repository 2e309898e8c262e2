// One update, all of it: the step's samples, forward, backward, the sharded update. Who trains makes steps with this
// and nothing else: the run itself (trainer.h) and the range test (lr_finder.h).
#pragma once

#include <cstdint>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "apps/strata/train_plan.h"
#include "data/sampler.h"
#include "dist/group_storage.h"
#include "dist/shared_buffers.h"
#include "dist/zero_optimizer.h"

namespace strata::app {

/// What an update did besides what the optimizer reports. Samples and tokens are those of all ranks.
struct StepWork {
    std::int64_t samples = 0;
    std::int64_t own_samples = 0;  ///< that this rank computed
    std::int64_t tokens = 0;
    double forward_seconds = 0;
    double backward_seconds = 0;
};

struct MadeStep {
    dist::StepReport report;
    StepWork work;
};

class TrainStep {
  public:
    /// Takes the model's parameters into its storage. Keeps references to all but `length`.
    TrainStep(const Config& config, const Experiment& experiment, const optim::Plan& plan, const RunLength& length,
              dist::Communicator& communicator);

    /// Makes the plan's update `step`, crossing the border of a stage where one begins. Collective. `telemetry` has the
    /// norms of parameters and their change measured too.
    MadeStep make(std::int64_t step, bool telemetry = false);

    dist::GroupStorage& storage() { return storage_; }
    dist::ZeroOptimizer& optimizer() { return optimizer_; }
    dist::SharedBuffers& buffers() { return buffers_; }

  private:
    double forward_backward(std::int64_t step, StepWork& work);

    const Config& config_;
    const Experiment& experiment_;
    RunLength length_;
    dist::Communicator& communicator_;
    data::Sampler sampler_;
    dist::GroupStorage storage_;
    dist::ZeroOptimizer optimizer_;
    dist::SharedBuffers buffers_;
};

}  // namespace strata::app
