// Which checkpoint a run goes on from, and whether it may.
#pragma once

#include <filesystem>
#include <optional>

#include "apps/strata/config.h"
#include "apps/strata/train_plan.h"
#include "dist/mpi_communicator.h"
#include "dist/state_file.h"
#include "optim/plan.h"

namespace strata::app {

/// The folder that --resume_from_checkpoint names, or for "auto" the newest in output_dir that verifies; nothing when
/// the run starts from the beginning. Collective.
std::optional<std::filesystem::path> checkpoint_to_resume(const Config& config, dist::MpiCommunicator& communicator);

/// What the checkpoint says of itself; nothing for none. Collective.
std::optional<dist::TrainHeader> saved_header(const std::optional<std::filesystem::path>& checkpoint,
                                              dist::Communicator& communicator);

/// The update count of a checkpoint with this header. Throws UserError, listing what differs, when its updates or its
/// data order were made otherwise than this run's would be: going on would be neither the old run nor the new one.
std::int64_t check_resumable(const std::filesystem::path& checkpoint, const dist::TrainHeader& header,
                             const Config& config, const optim::Plan& plan, const RunLength& length);

}  // namespace strata::app
