// Tensors that lie at one place for good and are filled anew for each step, by one copy: what work that was captured in
// a CUDA graph (optim/cuda_graph.h) reads of a batch.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "models/tensor_run.h"

struct CUstream_st;  // what cudaStream_t points to

namespace strata::models {

class FixedTensors {
  public:
    /// Of those types and shapes, on `device`. Without a stream they are the host's own.
    FixedTensors(const std::vector<torch::Tensor>& like, torch::Device device, CUstream_st* stream);
    ~FixedTensors();
    FixedTensors(const FixedTensors&) = delete;
    FixedTensors& operator=(const FixedTensors&) = delete;

    /// Fills them from tensors on the CPU, in the order of the stream; the host goes on.
    void send(const std::vector<torch::Tensor>& tensors);

    const std::vector<torch::Tensor>& there() const { return there_; }

  private:
    struct OnGpu;

    TensorRun run_;
    std::unique_ptr<OnGpu> gpu_;
    torch::Tensor bytes_;
    std::vector<torch::Tensor> there_;
};

}  // namespace strata::models
