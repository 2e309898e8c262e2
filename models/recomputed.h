// A part of a network that keeps its input alone for the backward pass, which computes the part again (T. Chen et al.,
// arXiv 1604.06174). With masks that are functions of their place (models/dropout.h) the second time gives the bits of
// the first. LibTorch's operators draw otherwise: what they made is to be kept (fused_attention.h).
#pragma once

#include <torch/types.h>

#include <functional>

namespace strata::models {

struct RecomputedPart {
    std::function<torch::Tensor(const torch::Tensor&)> of;  ///< kept until backward; must give the same again
    bool trains = false;                                    ///< has parameters that want gradients
};

/// part.of(x). Where nothing wants gradients, it is called and no more.
torch::Tensor recomputed(const RecomputedPart& part, const torch::Tensor& x);

}  // namespace strata::models
