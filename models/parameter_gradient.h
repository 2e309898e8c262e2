// Gradients of parameters that go straight to where they lie, without a tensor between.
//
// A backward pass may put a parameter's gradient there itself if the gradient is bound (dist/group_storage.h),
// contiguous, of the parameter's type, or on a CPU fp32 for bfloat16 (where micro-batches add up), and the pass is one
// that leaves gradients in parameters. The parameter's accumulation node runs all the same, with nothing to add. What
// lies there may be of an earlier step (gradient_content.h), so a kernel asks here first, and then does what it is
// told.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

namespace strata::models {

enum class GradientWay {
    hand_out,  ///< returns it, as any function does
    write,     ///< writes it over what parameter.grad() holds
    add,       ///< adds it to that
};

/// For a kernel that is about to make all of the parameter's gradient.
GradientWay way_of_gradient(const torch::Tensor& parameter);

/// For a kernel that is about to make these rows of a table's gradient: `hand_out` or `add`. On a GPU, where nobody
/// watches gradients, it need not name them.
GradientWay way_of_rows(const torch::Tensor& table, std::span<const std::int64_t> rows);

}  // namespace strata::models
