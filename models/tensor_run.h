// Several tensors in one run of bytes, so that one copy takes them all from the host to a GPU.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace strata::models {

/// Which of the bytes are whose: a function of types and shapes.
class TensorRun {
  public:
    explicit TensorRun(const std::vector<torch::Tensor>& like);

    std::int64_t bytes() const { return bytes_; }

    /// Tensors on the CPU, of those types and shapes (STRATA_CHECK), to bytes() of the host's memory.
    void write(const std::vector<torch::Tensor>& tensors, std::byte* to) const;

    /// Tensors that lie in `run`, bytes() of uint8 wherever they are.
    std::vector<torch::Tensor> views(const torch::Tensor& run) const;

  private:
    struct Place {
        torch::ScalarType type;
        std::vector<std::int64_t> shape;
        std::int64_t begin, bytes;
    };
    std::vector<Place> places_;
    std::int64_t bytes_ = 0;
};

}  // namespace strata::models
