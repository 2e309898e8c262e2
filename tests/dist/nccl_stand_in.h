// NCCL without GPUs: its collectives on host memory, across the ranks of MPI_COMM_WORLD, in the order of the stand-in's
// streams (tests/support/cuda_stand_in.h). It does what a caller must not rely on not happening: calls answer
// ncclInProgress first, work reaches its stream only once the caller has asked for the state often enough, and sums
// over ranks run from the last rank to the first.
#pragma once

#include <memory>

#include "dist/nccl_library.h"

namespace strata::dist::testing {

struct NcclFaults {
    bool never_connects = false;
    bool never_ends = false;                    ///< an operation stays in its stream until the communicator is aborted
    ncclResult_t error_of_state = ncclSuccess;  ///< what the state shows from now on
    ncclResult_t error_of_group = ncclSuccess;  ///< what the next group's end answers
};

/// All ranks are to set them alike, unless a test wants otherwise.
NcclFaults& nccl_faults();

struct NcclCounts {
    int groups = 0;
    int calls = 0;
    int aborts = 0;
    int destroyed = 0;
};
NcclCounts& nccl_counts();

std::shared_ptr<const NcclLibrary> nccl_stand_in();

/// Lets the stand-in's GPU run this room's kernels.
void add_parts_twins();

}  // namespace strata::dist::testing
