// Passes over tensors by our CUDA kernels. A pass is a struct of sizes and device pointers; for_launches(pass, launch)
// beside it names the grids that make it up, in their order. A .cu file for each pass has the launches.
#pragma once

#include "optim/cuda_handles.h"
#include "optim/kernel_team.h"

#if !defined(STRATA_WITH_CUDA)
#include <stdexcept>
#endif

struct CUstream_st;  // what cudaStream_t points to; spares callers CUDA's headers

namespace strata::models {

/// Where a kernel runs, and after what.
struct CudaQueue {
    int device = 0;
    CUstream_st* stream = nullptr;
};

/// Neither allocates nor waits. Throws SystemError when a launch is refused.
template <typename Pass>
void run_cuda_pass(const Pass& pass, const CudaQueue& queue);

#if defined(__CUDACC__)
template <typename Pass>
void run_cuda_pass(const Pass& pass, const CudaQueue& queue) {
    optim::use_device(queue.device);  // backward runs on threads of LibTorch's
    for_launches(pass, [&](const auto& body) { optim::launch_grid(body, queue.stream); });
}
#elif !defined(STRATA_WITH_CUDA)
template <typename Pass>
void run_cuda_pass(const Pass& /*pass*/, const CudaQueue& /*queue*/) {
    throw std::logic_error("built without CUDA kernels");
}
#endif

}  // namespace strata::models
