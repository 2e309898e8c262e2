#include "models/losses.h"

#include <torch/types.h>

#include <cmath>

#include "core/error.h"
#include "models/sent.h"

namespace strata::models {

torch::Tensor cross_entropy_sum(const torch::Tensor& logits, const std::vector<double>& labels) {
    STRATA_CHECK(logits.dim() == 2 && logits.size(0) == static_cast<std::int64_t>(labels.size()),
                 "{} labels for {} rows", labels.size(), logits.size(0));
    std::vector<std::int64_t> classes;
    classes.reserve(labels.size());
    for (const double label : labels) {
        STRATA_CHECK(label == std::floor(label) && label >= 0.0 && label < static_cast<double>(logits.size(1)),
                     "label {} is not one of {} classes", label, logits.size(1));
        classes.push_back(static_cast<std::int64_t>(label));
    }
    const torch::Tensor target = sent(torch::tensor(classes, torch::kInt64), logits.device());
    return torch::cross_entropy_loss(logits, target, {}, at::Reduction::Sum);
}

torch::Tensor squared_error_sum(const torch::Tensor& logits, const std::vector<double>& labels) {
    STRATA_CHECK(logits.dim() == 2 && logits.size(1) == 1 && logits.size(0) == static_cast<std::int64_t>(labels.size()),
                 "{} labels for an output of {} x {}", labels.size(), logits.size(0), logits.size(1));
    const torch::Tensor target = sent(torch::tensor(labels, torch::kFloat64).to(logits.scalar_type()), logits.device());
    return torch::mse_loss(logits.squeeze(1), target, at::Reduction::Sum);
}

torch::Tensor loss_sum(const torch::Tensor& logits, const std::vector<double>& labels, bool regression) {
    return regression ? squared_error_sum(logits, labels) : cross_entropy_sum(logits, labels);
}

Targets make_targets(const std::vector<double>& labels, bool regression, double weight, std::int64_t rows) {
    const auto samples = static_cast<std::int64_t>(labels.size());
    STRATA_CHECK(samples <= rows, "{} labels for {} rows", labels.size(), rows);
    Targets targets{torch::zeros({rows}, regression ? torch::kFloat32 : torch::kInt64), torch::zeros({rows})};
    targets.labels.narrow(0, 0, samples).copy_(torch::tensor(labels, torch::kFloat64));
    targets.weights.narrow(0, 0, samples).fill_(weight);
    return targets;
}

torch::Tensor loss_sum(const torch::Tensor& logits, const Targets& targets) {
    const torch::Tensor losses = targets.labels.is_floating_point()
                                     ? torch::mse_loss(logits.squeeze(1), targets.labels, at::Reduction::None)
                                     : torch::cross_entropy_loss(logits, targets.labels, {}, at::Reduction::None);
    return (losses * targets.weights).sum();
}

}  // namespace strata::models
