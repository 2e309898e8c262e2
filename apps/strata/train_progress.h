// How far a run is: what it has to remember besides weights and moments. A checkpoint holds it as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "optim/loss_scale.h"

namespace strata::app {

struct TrainProgress {
    std::int64_t step = 0;               ///< updates made
    std::int64_t global_batch_size = 0;  ///< samples an update is made from: with the seed, it is the data order
    std::int64_t micro_batches = 0;      ///< that they were cut into, and the threads of each rank: a deterministic run
    std::int64_t threads = 0;            ///< keeps both
    double loss_sum = 0;                 ///< of the updates' losses
    std::int64_t samples = 0;
    std::int64_t tokens = 0;
    std::int64_t skipped_steps = 0;
    std::int64_t unlogged_steps = 0;  ///< since the last logged one, and the sum of their losses
    double unlogged_loss_sum = 0;
    std::optional<double> best_metric;  ///< of the best checkpoint so far, if best_model.h has a rule
    std::string best_model_checkpoint;  ///< its folder
    nlohmann::json log_history = nlohmann::json::array();       ///< as in transformers' trainer_state.json
    std::optional<optim::LossScale> loss_scale = std::nullopt;  ///< fp16's
};

nlohmann::json to_json(const TrainProgress& progress);

/// Throws UserError, opening with `where`, when a value is missing or of the wrong kind.
TrainProgress progress_from_json(const std::string& text, const std::string& where);

}  // namespace strata::app
