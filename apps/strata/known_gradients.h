// Joins the storage that gradients lie in to a model's kernels, which know what they leave there.
#pragma once

#include <memory>

#include "dist/group_storage.h"

namespace strata::app {

/// On a CPU; null on a GPU, where one pass of zeros over all of them costs less than a launch for each.
std::unique_ptr<dist::GradientWatch> known_gradients(torch::Device device);

}  // namespace strata::app
