#include "models/cuda_queue.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "models/column_tile.h"

namespace strata::models {

CudaQueue cuda_queue_of(const torch::Tensor& tensor) {
    const torch::Device device = tensor.device();
    const c10::impl::VirtualGuardImpl runtime(device.type());
    void* const stream = runtime.getStreamNativeHandle(runtime.getStream(device));
    return {device.index(), static_cast<CUstream_st*>(stream)};
}

torch::Tensor tile_room(const torch::Tensor& x, std::int64_t count) {
    const std::int64_t width = x.size(1);
    return torch::empty({TileShape{x.size(0), width}.row_tiles(), count * width}, x.options().dtype(torch::kFloat32));
}

}  // namespace strata::models
