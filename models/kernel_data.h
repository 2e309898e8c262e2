// Tensors as the kernels of this room take them: contiguous floats, or 16-bit floats under the kernels' own names.
#pragma once

#include <torch/types.h>

#include "models/bf16.h"
#include "optim/device.h"

namespace strata::models {

/// Whether our CPU kernels take it.
inline bool kernel_can(const torch::Tensor& tensor) {
    return tensor.is_cpu() && (tensor.scalar_type() == torch::kFloat32 || tensor.scalar_type() == torch::kBFloat16);
}

/// Whether our CUDA kernels take it.
inline bool cuda_kernel_can(const torch::Tensor& tensor) {
    const torch::ScalarType type = tensor.scalar_type();
    return optim::cuda_built() && tensor.is_cuda() &&
           (type == torch::kFloat32 || type == torch::kBFloat16 || type == torch::kFloat16);
}

/// Whether one of our kernels takes it, where it lies.
inline bool has_kernel(const torch::Tensor& tensor) {
    return kernel_can(tensor) || cuda_kernel_can(tensor);
}

/// fp16 on the CPU, for which there is no kernel: computed in fp32 between two conversions.
inline bool widens(const torch::Tensor& tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == torch::kFloat16;
}
inline torch::Tensor widened(const torch::Tensor& tensor) {
    return tensor.to(torch::kFloat32);
}

/// What sums over such a tensor are made in.
inline torch::ScalarType arithmetic_of(const torch::Tensor& tensor) {
    return tensor.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

/// T: float, Bf16 or Fp16, as the tensor has it.
template <typename T>
const T* data_of(const torch::Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* mutable_data_of(const torch::Tensor& tensor) {
    return static_cast<T*>(tensor.mutable_data_ptr());
}

/// Calls run(T{}) for the type of a tensor that kernel_can() take.
template <typename Run>
void for_kernel_type(const torch::Tensor& tensor, const Run& run) {
    if (tensor.scalar_type() == torch::kBFloat16) {
        run(Bf16{});
    } else {
        run(float{});
    }
}

/// The same for a tensor that cuda_kernel_can() take.
template <typename Run>
void for_cuda_type(const torch::Tensor& tensor, const Run& run) {
    if (tensor.scalar_type() == torch::kFloat16) return run(Fp16{});
    for_kernel_type(tensor, run);
}

}  // namespace strata::models
