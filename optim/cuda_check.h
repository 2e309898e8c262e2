// STRATA_CUDA_CHECK(call) throws SystemError when a CUDA runtime call fails: which call, where, and CUDA's own name and
// words for the error. For .cu files, which include the runtime themselves.
#pragma once

namespace strata::optim {

/// Out of line and without CUDA's types, because nvcc cannot check fmt's format strings.
[[noreturn]] void cuda_failed(const char* call, const char* error_name, const char* error_text, const char* file,
                              int line);

}  // namespace strata::optim

#define STRATA_CUDA_CHECK(call)                                                                      \
    do {                                                                                             \
        const cudaError_t strata_cuda_error = (call);                                                \
        if (strata_cuda_error != cudaSuccess) {                                                      \
            ::strata::optim::cuda_failed(#call, cudaGetErrorName(strata_cuda_error),                 \
                                         cudaGetErrorString(strata_cuda_error), __FILE__, __LINE__); \
        }                                                                                            \
    } while (false)
