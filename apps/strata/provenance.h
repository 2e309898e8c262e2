// What produced a checkpoint: versions, host, time, shape of the job.
#pragma once

#include <string>

#include "dist/communicator.h"

namespace strata::app {

/// JSON: strata, LibTorch, MPI and HDF5 versions, host, UTC time, ranks, threads a rank.
std::string provenance(const dist::Communicator& communicator);

}  // namespace strata::app
