// Optimizers: their names, their figures, and which of the figures each one has. What they compute is update_rule.h.
//
//   adamw  torch.optim.AdamW (Loshchilov and Hutter 2019): decay is decoupled, times the group's rate
//   adam   torch.optim.Adam (Kingma and Ba 2015): decay is L2, added to the gradient
//   sgd    torch.optim.SGD: momentum, Nesterov; decay is L2, added to the gradient
//   lamb   You et al. 2020 (arXiv 1904.00962), as apex's FusedLAMB and timm's Lamb have it: Adam's direction with bias
//          correction plus decay, times the trust ratio |w| / |direction| of its parameter tensor
//
// Every error is a UserError.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace strata::optim {

enum class OptimizerKind { adamw, adam, sgd, lamb };

/// In the order of OptimizerKind: the one list of names, for parsers and for option tables.
inline constexpr std::array<std::string_view, 4> optimizer_names{"adamw", "adam", "sgd", "lamb"};

std::string_view optimizer_name(OptimizerKind kind);

/// Also takes transformers' "adamw_torch" and "adamw_torch_fused". Throws for another name, with the nearest.
OptimizerKind parse_optimizer_kind(std::string_view name);

/// True where one goes on from the other's moments: all but sgd keep averages of gradients and of their squares, sgd a
/// sum.
bool share_moments(OptimizerKind a, OptimizerKind b);

struct OptimizerConfig {
    OptimizerKind kind = OptimizerKind::adamw;
    double beta1 = 0.9;         // all but sgd
    double beta2 = 0.999;       // all but sgd
    double epsilon = 1e-8;      // all but sgd
    double weight_decay = 0.0;  // adamw and lamb: times the group's rate. adam and sgd: L2, added to the gradient
    double momentum = 0.0;      // sgd
    bool nesterov = false;      // sgd
};

/// What a group has of its own; what is empty is the optimizer's.
struct OptimizerOverrides {
    std::optional<double> weight_decay = std::nullopt;
    std::optional<double> beta1 = std::nullopt;
    std::optional<double> beta2 = std::nullopt;
    std::optional<double> epsilon = std::nullopt;

    bool any() const { return weight_decay || beta1 || beta2 || epsilon; }
};

OptimizerConfig with_overrides(const OptimizerConfig& optimizer, const OptimizerOverrides& own);

/// An option under the name that people set it by, and the optimizers that have it.
struct OptimizerOption {
    std::string_view name;
    std::array<bool, optimizer_names.size()> has;  // in the order of OptimizerKind
};

inline constexpr std::array<OptimizerOption, 6> optimizer_options{{
    {"weight_decay", {true, true, true, true}},
    {"adam_beta1", {true, true, false, true}},
    {"adam_beta2", {true, true, false, true}},
    {"adam_epsilon", {true, true, false, true}},
    {"momentum", {false, false, true, false}},
    {"nesterov", {false, false, true, false}},
}};

/// Throws for the first of `set`, the names of optimizer_options that the user set, that the optimizer does not have.
void check_optimizer_options(OptimizerKind kind, std::span<const std::string_view> set);

/// Throws for a figure that makes no sense, by its option's name.
void check_optimizer(const OptimizerConfig& optimizer);

/// Moments kept for each element: 1 for SGD with momentum, 0 for SGD without, 2 for the others.
int state_tensors(const OptimizerConfig& optimizer);

}  // namespace strata::optim
