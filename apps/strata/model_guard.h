// Puts a model back to what it was, bit for bit, after something was tried on it.
#pragma once

#include <torch/types.h>

#include <vector>

#include "models/model.h"

namespace strata::app {

/// Remembers where the parameters lie, their gradients and whether they want any, the buffers' values and torch's
/// random state, and puts all of it back when it goes. Parameters' values are not copied: whoever tries something
/// moves them to memory of its own first, as GroupStorage does.
class ModelGuard {
  public:
    explicit ModelGuard(const models::Model& model);
    ~ModelGuard();
    ModelGuard(const ModelGuard&) = delete;
    ModelGuard& operator=(const ModelGuard&) = delete;

  private:
    struct Parameter {
        torch::Tensor tensor;
        torch::Tensor home;  // the same memory, without gradient
        torch::Tensor gradient;
        bool requires_grad;
    };
    struct Buffer {
        torch::Tensor tensor;
        torch::Tensor values;
    };

    std::vector<Parameter> parameters_;
    std::vector<Buffer> buffers_;
    torch::Tensor random_state_;
};

}  // namespace strata::app
