// The CUDA twin of the fused update (fused_update.cu). Declared, and built, only where nvcc was found; optim/device.h
// tells at run time. Everything the kernel reads lies in device memory, so a call neither allocates nor waits.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "optim/fused_update.h"
#include "optim/update_kernel.h"

struct CUstream_st;  // what cudaStream_t points to; spares callers CUDA's headers

namespace strata::optim {

/// Enqueues one launch on `stream` of the current device. All pointers in `tables` are device pointers. The same bits
/// as fused_update_cpu. Throws SystemError when the launch is refused.
void fused_update_cuda(OptimizerKind kind, const UpdateTables& tables, CUstream_st* stream);

}  // namespace strata::optim

#endif
