// Compiled with --fmad=false: contraction would give other bits than the CPU. The kernels wait for memory, not for
// arithmetic, so it costs nothing.
#include "optim/cuda_check.h"
#include "optim/fused_update_cuda.h"
#include "optim/kernel_team.h"

#include <algorithm>
#include <stdexcept>

namespace strata::optim {

namespace {

template <Pass pass, bool measure>
__global__ void __launch_bounds__(kernel_threads) pass_kernel(UpdateTables tables) {
    __shared__ SumPair shared[measure ? kernel_threads : 1];
    const int thread = static_cast<int>(threadIdx.x);
    for (std::int64_t tile = blockIdx.x; tile < tables.tile_count; tile += gridDim.x) {
        const SumPair own = tile_body<pass, measure>(tables, tile, thread, kernel_threads);
        if constexpr (measure) {
            const DeviceTeam<kernel_threads> team(thread);
            team.each([&](int) { shared[thread] = own; });
            fold(team, shared);
            team.each([&](int) {
                if (thread == 0) tables.tile_sums[tile] = shared[0];
            });
        }
    }
}

__global__ void __launch_bounds__(kernel_threads)
    bin_kernel(const SumPair* tile_sums, TileBins bins, double* out, int width) {
    __shared__ SumPair shared[kernel_threads];
    const int thread = static_cast<int>(threadIdx.x);
    for (std::int64_t bin = blockIdx.x; bin < bins.count; bin += gridDim.x) {
        const DeviceTeam<kernel_threads> team(thread);
        team.each([&](int) { shared[thread] = bin_body(tile_sums, bins, bin, thread, kernel_threads); });
        fold(team, shared);
        team.each([&](int) {
            if (thread == 0) store_bin(out, bin, width, shared[0]);
        });
    }
}

/// One thread: the sums are added up in the order of groups, as the host does it.
__global__ void decide_kernel(const double* sums, std::int64_t groups, const double* max_norm, LossScale* scale,
                              UpdateControl* control) {
    *control = decide(sums, groups, *max_norm, scale);
}

/// Blocks stride over the work, so the limit is only there to keep the grid's size a legal one.
unsigned blocks_for(std::int64_t work) {
    return static_cast<unsigned>(std::min<std::int64_t>(work, 1 << 20));
}

template <Pass pass, bool measure>
void launch(const UpdateTables& tables, CUstream_st* stream) {
    if (tables.tile_count == 0) return;
    pass_kernel<pass, measure><<<blocks_for(tables.tile_count), kernel_threads, 0, stream>>>(tables);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

template <Pass pass>
void launch_update(const UpdateTables& tables, CUstream_st* stream) {
    if (tables.tile_sums == nullptr) {
        launch<pass, false>(tables, stream);
    } else {
        launch<pass, true>(tables, stream);
    }
}

void add_bins(const SumPair* tile_sums, const TileBins& bins, double* out, int width, CUstream_st* stream) {
    if (bins.count == 0) return;
    bin_kernel<<<blocks_for(bins.count), kernel_threads, 0, stream>>>(tile_sums, bins, out, width);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void fused_update_cuda(OptimizerKind kind, const UpdateTables& tables, CUstream_st* stream) {
    switch (kind) {
        case OptimizerKind::adamw:
            return launch_update<Pass::adamw>(tables, stream);
        case OptimizerKind::adam:
            return launch_update<Pass::adam>(tables, stream);
        case OptimizerKind::sgd:
            return launch_update<Pass::sgd>(tables, stream);
        case OptimizerKind::lamb:
            break;
    }
    throw std::logic_error("LAMB's update has two phases");
}

void decide_cuda(const double* sums, std::int64_t groups, const double* max_norm, LossScale* scale,
                 UpdateControl* control, CUstream_st* stream) {
    decide_kernel<<<1, 1, 0, stream>>>(sums, groups, max_norm, scale, control);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

void telemetry_cuda(const UpdateTables& tables, const TileBins& groups, GroupTelemetry* telemetry,
                    CUstream_st* stream) {
    static_assert(sizeof(GroupTelemetry) == 2 * sizeof(double));
    add_bins(tables.tile_sums, groups, &telemetry->update_square_sum, 2, stream);
}

void square_sums_cuda(const UpdateTables& tables, const TileBins& groups, double* per_group, CUstream_st* stream) {
    launch<Pass::square_sum, true>(tables, stream);
    add_bins(tables.tile_sums, groups, per_group, 1, stream);
}

void lamb_moments_cuda(const UpdateTables& tables, const TileBins& tensors, double* tensor_sums, CUstream_st* stream) {
    launch<Pass::lamb_moments, true>(tables, stream);
    add_bins(tables.tile_sums, tensors, tensor_sums, 2, stream);
}

void lamb_apply_cuda(const UpdateTables& tables, CUstream_st* stream) {
    launch_update<Pass::lamb_apply>(tables, stream);
}

}  // namespace strata::optim
