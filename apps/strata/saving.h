// A run as a checkpoint and back: joins the trainer's parts with dist/checkpoint, which knows neither models nor text.
#pragma once

#include <filesystem>
#include <string>

#include "apps/strata/config.h"
#include "apps/strata/experiment.h"
#include "apps/strata/train_progress.h"
#include "dist/checkpoint.h"
#include "dist/group_storage.h"
#include "dist/mpi_communicator.h"
#include "dist/shard_ranks.h"

namespace strata::app {

/// Everything of the run that goes into checkpoint-<step>; of slices that several ranks hold, each gives its share.
/// Pointers lead into `storage`.
dist::CheckpointContent checkpoint_content(const Config& config, const Experiment& experiment, const optim::Plan& plan,
                                           dist::GroupStorage& storage, const TrainProgress& progress, double epoch,
                                           const dist::ShardRanks& ranks);

/// Reads a checkpoint into the own slices of `storage` and returns how far its run was. The other ranks' slices of the
/// parameters must be gathered afterwards. Throws UserError for a checkpoint of another model. Rank 0 prints what is
/// not as it was (carried_state.h). Collective.
TrainProgress restore(const std::filesystem::path& checkpoint, const Config& config, const Experiment& experiment,
                      const optim::Plan& plan, dist::GroupStorage& storage, dist::MpiCommunicator& communicator);

/// Puts a checkpoint's weights and buffers into the model itself. SystemError where the checkpoint is damaged.
void load_weights(const std::filesystem::path& checkpoint, const models::Model& model, dist::GroupStorage& storage);

}  // namespace strata::app
