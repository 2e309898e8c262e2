// Which checkpoint a run goes on from, and whether it may.
#pragma once

#include <filesystem>
#include <optional>

#include "apps/strata/config.h"
#include "apps/strata/train_plan.h"
#include "dist/mpi_communicator.h"
#include "optim/plan.h"

namespace strata::app {

/// The folder that --resume_from_checkpoint names, or for "auto" the newest in output_dir that verifies; nothing when
/// the run starts from the beginning. Collective.
std::optional<std::filesystem::path> checkpoint_to_resume(const Config& config, dist::MpiCommunicator& communicator);

/// The configuration that the checkpoint was made with (to_toml's text); nothing for none. Collective.
std::optional<std::string> saved_configuration(const std::optional<std::filesystem::path>& checkpoint,
                                               dist::Communicator& communicator);

/// The checkpoint's update count. Throws UserError, listing what differs, when its updates or its data order were made
/// otherwise than this run's would be: going on would be neither the old run nor the new one.
std::int64_t check_resumable(const std::filesystem::path& checkpoint, const Config& config, const optim::Plan& plan,
                             const RunLength& length);

}  // namespace strata::app
