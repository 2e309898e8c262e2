// The CUDA twins of the passes in fused_update.h (fused_update.cu). Declared, and built, only where nvcc was found;
// optim/device.h tells at run time. Everything a kernel reads lies in device memory, so a call neither allocates nor
// waits. The number of launches is in each declaration: it does not depend on groups, tensors or spans.
//
// LAMB: lamb_moments_cuda, an all-reduce of its sums, lamb_apply_cuda: three launches.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "optim/decision.h"
#include "optim/fused_update.h"
#include "optim/tile_sums.h"
#include "optim/update_kernel.h"

struct CUstream_st;  // what cudaStream_t points to; spares callers CUDA's headers

namespace strata::optim {

/// One launch on `stream` of the current device; any optimizer but LAMB. All pointers in `tables` are device pointers.
/// The same bits as fused_update_cpu. If tables.tile_sums is not null, also measures every tile, for telemetry_cuda.
/// Throws SystemError when a launch is refused, as all of these do.
void fused_update_cuda(OptimizerKind kind, const UpdateTables& tables, CUstream_st* stream);

/// One launch: decides from `sums` (decision.h: one for each of `groups`, then the loss) what passes after it read as
/// tables.control. In fp16 `scale` is the loss's, which it steps; else null. All of it, `max_norm` too, lies in device
/// memory.
void decide_cuda(const double* sums, std::int64_t groups, const double* max_norm, LossScale* scale,
                 UpdateControl* control, CUstream_st* stream);

/// One launch, after an update that measured: GroupTelemetry for each of the bins (group_bins), written to `telemetry`.
void telemetry_cuda(const UpdateTables& tables, const TileBins& groups, GroupTelemetry* telemetry, CUstream_st* stream);

/// Two launches: as square_sums_cpu, one sum for each of the bins (group_bins), to rounding. Reads tables.spans,
/// first_tiles and tile_sums, which it needs.
void square_sums_cuda(const UpdateTables& tables, const TileBins& groups, double* per_group, CUstream_st* stream);

/// Two launches: as lamb_moments_cpu, two sums for each of the bins (tensor_bins), to rounding. Needs tables.tile_sums.
void lamb_moments_cuda(const UpdateTables& tables, const TileBins& tensors, double* tensor_sums, CUstream_st* stream);

/// One launch: as lamb_apply_cpu, given the same tables.tensor_sums with the same bits. Measures as fused_update_cuda.
void lamb_apply_cuda(const UpdateTables& tables, CUstream_st* stream);

}  // namespace strata::optim

#endif
