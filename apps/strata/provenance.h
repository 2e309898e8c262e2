// What produced a checkpoint: versions, host, time, shape of the job.
#pragma once

#include <string>

#include "dist/communicator.h"

namespace strata::app {

/// What runs, for ranks to compare, a line each: strata's version and the hash of the program file, the versions of
/// LibTorch, MPI and HDF5, the size and order of a machine word.
std::string program_text();

/// What decides the last bits of sums and products: the processor and LibTorch's choice of its instructions.
std::string arithmetic_text();

/// JSON: strata, LibTorch, MPI and HDF5 versions, hash of the program, processor, host, UTC time, ranks, threads a
/// rank.
std::string provenance(const dist::Communicator& communicator);

}  // namespace strata::app
