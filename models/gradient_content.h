// What the gradients of a network hold from one step to the next, so that no pass zeroes what the next one writes over.
//
// Gradients add up where they lie (parameter_gradient.h). Every step would begin with zeros over all of that memory,
// which the backward pass then reads back, adds to and writes again; of an embedding's table it touches a few rows.
// Instead each gradient knows what it holds, and start_anew() goes by that:
//
//   zeros, but for some rows of a table    those rows are zeroed
//   what a kernel made that makes it all   stays, stale: the next such kernel writes over it
//   anything else                          is zeroed
//
// Kernels say what they make of it (parameter_gradient.h). Autograd's own additions go by a hook, which zeroes what is
// stale.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace strata::models {

/// From here on it holds what a kernel makes of all of it. Returns whether nothing that counts is there: the kernel is
/// to write, and else to add.
bool hold_whole(const torch::Tensor& grad);

/// It holds something in these rows too. They are ready to be added to.
void hold_rows(const torch::Tensor& grad, std::span<const std::int64_t> rows);

/// Of the parameters of one network, in host memory. Other gradients hold anything at any time.
class GradientContents {
  public:
    GradientContents();
    ~GradientContents();
    GradientContents(const GradientContents&) = delete;
    GradientContents& operator=(const GradientContents&) = delete;

    /// These parameters' gradients alone, which are there, contiguous, and zero. Those that lie in one place, of one
    /// tensor under two names, hold one content.
    void watch(const std::vector<torch::Tensor>& parameters);

    /// Counts as zero from here on. Somebody else may have changed its elements [changed.first, changed.second).
    void start_anew(const torch::Tensor& parameter, std::pair<std::int64_t, std::int64_t> changed = {});

    /// No longer only counts as zero: of a step that adds nothing to it.
    void settle(const torch::Tensor& parameter);

  private:
    struct Watched;
    std::vector<std::unique_ptr<Watched>> watched_;
};

}  // namespace strata::models
