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

/// What outputs are held against, where they are.
struct Targets {
    torch::Tensor labels;   // int64 [B], class indexes; of a regression fp32
    torch::Tensor weights;  // fp32 [B]: how much each sample's loss counts
};

/// On the CPU, for `rows` outputs: those labels, each of that weight, and behind them what counts nothing.
Targets make_targets(const std::vector<double>& labels, bool regression, double weight, std::int64_t rows);

/// The same losses, each times its weight; where that is 0 the gradient of the row is 0.
torch::Tensor loss_sum(const torch::Tensor& logits, const Targets& targets);

}  // namespace strata::models
