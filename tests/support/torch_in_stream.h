// LibTorch's operators as work of a stream of the GPU that is not there (cuda_stand_in.h). LibTorch computes on the
// host here: at once, and with whatever lies in memory then. While one of these lives, each operator that its thread
// calls is also put into the stream, to be done again when the stream comes to it, into the memory of its first
// results. So a pass happens in the order of the stream, a capture notes it, and a replay makes it of what memory holds
// by then.
//
// What was computed at once is thrown away by that, if the stream's work begins by writing what it adds to. Where the
// host looks at a value it waits for the stream, which a captured one refuses (SystemError). All tensors of a pass stay
// where they are for as long as its work is kept: what LibTorch's allocator does with memory is not shown.
#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cuda_runtime_api.h>

namespace strata::testing_support {

class TorchInStream {
  public:
    /// Waits for the stream, which is to have waited for what reads the results of the one before.
    explicit TorchInStream(cudaStream_t stream);
    ~TorchInStream();
    TorchInStream(const TorchInStream&) = delete;
    TorchInStream& operator=(const TorchInStream&) = delete;

  private:
    cudaStream_t outer_;
    c10::impl::IncludeDispatchKeyGuard notes_;
};

}  // namespace strata::testing_support
