// What a run says, as TensorBoard's tags. Names are those of transformers' TensorBoardCallback where it has them:
// train/loss, train/grad_norm, train/learning_rate (of the last group), train/epoch, eval/…; by group lr/…,
// grad_norm/…, weight_norm/…, update_ratio/…; by phase seconds/….
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "apps/strata/event_record.h"
#include "apps/strata/training_log.h"

namespace strata::app {

/// train/loss is the mean over the updates since the last logged one, as transformers'.
std::vector<Scalar> scalars_of(const StepRecord& record);

/// Results by name: eval_accuracy is eval/accuracy, train_runtime is train/train_runtime. What is no number, and the
/// step and epoch that stand beside the results, are left out.
std::vector<Scalar> scalars_of(const nlohmann::json& results);

}  // namespace strata::app
