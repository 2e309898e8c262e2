// From configuration and data size to the plan: the one way, shared by `strata plan`, training and resume.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "apps/strata/config.h"
#include "optim/plan.h"

namespace strata::app {

/// How long a run is. An epoch's last update may be made from fewer samples than the others.
struct RunLength {
    std::int64_t global_batch_size;  ///< samples an update is made from
    std::int64_t micro_batches;      ///< all ranks', that they are cut into
    std::int64_t steps_per_epoch;    ///< 0 when the number of samples is not known
    std::int64_t total_steps;
};

/// The stages of the [[stage]] tables; none where there are no tables.
std::vector<optim::StageConfig> stages_of(const Config& config);

/// Samples an update is made from.
std::int64_t global_batch_size(const Config& config, int ranks);

/// `samples` is unknown for a plan made before there is data; then max_steps or stages whose lengths are
/// updates must say how long it is. Throws UserError for stages in epochs without samples.
RunLength run_length(const Config& config, std::optional<std::int64_t> samples, int ranks);

/// Throws UserError, with the place in the configuration file, for every configuration that makes no sense.
/// `ranks_per_host` is what the job has found; 0: what the configuration says, which --shard node then needs.
optim::Plan make_train_plan(const Config& config, const optim::Manifest& manifest, const RunLength& length, int ranks,
                            int ranks_per_host = 0);

}  // namespace strata::app
