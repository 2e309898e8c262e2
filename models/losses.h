// Losses as sums over the samples. The caller divides by the number of samples in the whole global batch, so that the
// result does not depend on how the batch was cut into ranks and micro-batches.
#pragma once

#include <torch/types.h>

#include <vector>

namespace strata::models {

/// Σ −log softmax(logits)[label]; logits [B, classes], labels are class indexes (STRATA_CHECK: whole, in range).
/// Scalar.
torch::Tensor cross_entropy_sum(const torch::Tensor& logits, const std::vector<double>& labels);

/// Σ (logit − label)²; logits [B, 1]. Scalar.
torch::Tensor squared_error_sum(const torch::Tensor& logits, const std::vector<double>& labels);

/// One of the two above.
torch::Tensor loss_sum(const torch::Tensor& logits, const std::vector<double>& labels, bool regression);

}  // namespace strata::models
