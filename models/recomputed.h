// A part of a network that keeps its input alone for the backward pass, which computes the part again (T. Chen et al.,
// arXiv 1604.06174). With masks that are functions of their place (models/dropout.h) the second time gives the bits of
// the first.
#pragma once

#include <torch/types.h>

#include <functional>

namespace strata::models {

/// part(x). `part` is kept until backward and must give the same again. `trains`: whether it has parameters that want
/// gradients. Where nothing wants any, it is called and no more.
torch::Tensor recomputed(const std::function<torch::Tensor(const torch::Tensor&)>& part, const torch::Tensor& x,
                         bool trains);

}  // namespace strata::models
