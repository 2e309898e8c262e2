// Measures training steps: the trainer's own (train_step.h), each part by the clock, and then, under a profile,
// operator by operator; beside them what the processor could do at best, and what the plan said of memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "apps/strata/operator_profile.h"
#include "apps/strata/train_plan.h"
#include "dist/communicator.h"
#include "optim/plan.h"

namespace strata::app {

/// Seconds of a step by part; means over the middle half of the steps by their length, and over ranks. `other` is what
/// no part has: gradients set to zero, the sampler, the watch.
struct StepParts {
    double input = 0, forward = 0, backward = 0, reduce = 0, update = 0, gather = 0, other = 0;
    double whole = 0;
};

/// Tokens of all ranks in a second of a step.
struct Spread {
    double median = 0, least = 0, most = 0;
};

struct StepBench {
    int ranks = 1;
    int threads = 1;  ///< of a rank
    std::string precision;
    std::int64_t parameters = 0;
    std::int64_t samples = 0;  ///< of a step, all ranks
    std::int64_t steps = 0;
    double tokens = 0;  ///< of a step, all ranks, mean
    Spread tokens_per_second;
    StepParts seconds;
    double processor_seconds = 0;         ///< of a step, all threads of a rank: what the step cost, whoever else ran
    std::vector<OperatorTime> operators;  ///< of rank 0
    double profiled_seconds = 0;          ///< of a step under the profile

    double operations = 0;             ///< of a step, all ranks, mean: models/step_work.h
    double operations_per_second = 0;  ///< of one large matrix product on each rank at a time, added up
    double least_seconds() const { return operations / operations_per_second; }

    // Of the rank that takes most.
    std::int64_t memory_peak = 0;     ///< resident, of the whole process, before the profile
    std::int64_t memory_planned = 0;  ///< parameters, gradients, state, activations, process: what `strata plan` says
    std::int64_t process = 0;         ///< of that, not in tensors
    std::int64_t activations = 0;     ///< of that
    std::int64_t tensors_taken = 0;   ///< by tensors that come and go in a step, at their peak
    double page_faults = 0;           ///< of a step, mean
};

/// Gives the experiment, which load_texts_for_training made, its network (draw_network), whose memory counts, and makes
/// `config.bench_steps` steps of the plan's first stage, after two that count for nothing. Collective; the same on
/// every rank but for `operators`.
StepBench measure_steps(const Config& config, Experiment& experiment, dist::Communicator& communicator);

}  // namespace strata::app
