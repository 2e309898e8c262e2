// Work of a stream as a CUDA graph. Streams that events draw in are part of it, if events lead back to the first one.
// Declared everywhere, built only where nvcc was found.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "optim/cuda_handles.h"
#include "optim/recording.h"

struct CUgraphExec_st;

namespace strata::optim {

/// Captured by the calling thread alone: others may go on querying events. What the stream holds before a replay comes
/// before it, what other streams hold does not, unless the stream waits for them.
class CudaGraph final : public Recording {
  public:
    /// Not CUDA's default stream, which cannot be captured.
    explicit CudaGraph(CUstream_st* stream) : stream_(stream) {}
    /// Stops the host until its last replay is done. While an exception passes it stays, for the process to end with:
    /// a replay may wait for a rank that is gone.
    ~CudaGraph() override;
    CudaGraph(const CudaGraph&) = delete;
    CudaGraph& operator=(const CudaGraph&) = delete;

    void record(const std::function<void()>& work) override;
    void replay() override;

  private:
    CUstream_st* stream_;
    CUgraphExec_st* executable_ = nullptr;
    CudaEvent replayed_;
};

}  // namespace strata::optim

#endif
