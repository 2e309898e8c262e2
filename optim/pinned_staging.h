// The way for small things that change at each update to the device: pinned blocks in turn, each written again only
// once its copy has been made. So a copy stops nobody, but where the device is `blocks` copies behind. Declared
// everywhere, built only where nvcc was found.
#pragma once

#ifdef STRATA_WITH_CUDA

#include <cstddef>
#include <memory>
#include <vector>

#include "optim/cuda_handles.h"

namespace strata::optim {

class PinnedStaging {
  public:
    explicit PinnedStaging(std::size_t bytes, std::size_t blocks = 3);

    /// The next block, to be filled.
    std::byte* next();
    /// Copies it to device memory in the order of `stream`.
    void send(void* to, CUstream_st* stream);

  private:
    struct Block {
        std::unique_ptr<std::byte, void (*)(std::byte*)> memory{nullptr, nullptr};
        CudaEvent copied;
        bool sent = false;
    };
    std::size_t bytes_;
    std::vector<Block> blocks_;
    std::size_t current_ = 0;
};

}  // namespace strata::optim

#endif
