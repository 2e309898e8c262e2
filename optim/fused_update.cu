// Compiled with --fmad=false: contraction would give other bits than the CPU. The kernel waits for memory, not for
// arithmetic, so it costs nothing.
#include "optim/cuda_check.h"
#include "optim/fused_update_cuda.h"

#include <algorithm>

namespace strata::optim {

namespace {

template <OptimizerKind kind>
__global__ void __launch_bounds__(kernel_threads) fused_update_kernel(UpdateTables tables) {
    fused_update_body<kind>(tables, blockIdx.x, gridDim.x, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
}

}  // namespace

void fused_update_cuda(OptimizerKind kind, const UpdateTables& tables, CUstream_st* stream) {
    if (tables.tile_count == 0) return;
    // Blocks stride over the tiles, so the limit is only there to keep the grid's size a legal one.
    const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(tables.tile_count, 1 << 20));
    if (kind == OptimizerKind::adamw) {
        fused_update_kernel<OptimizerKind::adamw><<<blocks, kernel_threads, 0, stream>>>(tables);
    } else {
        fused_update_kernel<OptimizerKind::sgd><<<blocks, kernel_threads, 0, stream>>>(tables);
    }
    STRATA_CUDA_CHECK(cudaGetLastError());
}

}  // namespace strata::optim
