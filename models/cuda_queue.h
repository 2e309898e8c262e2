// What our CUDA kernels need of LibTorch: the stream that its own kernels are in, and memory from its allocator.
#pragma once

#include <torch/types.h>

#include "models/cuda_pass.h"

namespace strata::models {

/// LibTorch's current stream on the tensor's GPU.
CudaQueue cuda_queue_of(const torch::Tensor& tensor);

/// Room for the sums of the tiles of x [rows, width], `count` for each column: fp32 [tiles, count * width].
torch::Tensor tile_room(const torch::Tensor& x, std::int64_t count);

}  // namespace strata::models
