// The real NCCL, one GPU a rank.
#include <mpi.h>

#include "nccl_backends.h"
#include "optim/device.h"

namespace strata::dist::testing {

std::vector<BackendCase> backends() {
    int rank = 0;
    int ranks = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    const int gpus = optim::device_count();
    const std::string missing =
        gpus < ranks ? std::to_string(ranks) + " ranks need as many GPUs, here are " + std::to_string(gpus) : "";
    return nccl_cases(load_nccl, rank, missing);
}

}  // namespace strata::dist::testing
