#include "optim/optimizer.h"

#include "core/error.h"
#include "core/nearest.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace strata::optim {

namespace {

std::vector<std::string> options_of(OptimizerKind kind) {
    std::vector<std::string> names;
    for (const OptimizerOption& option : optimizer_options) {
        if (option.has[static_cast<std::size_t>(kind)]) names.emplace_back(option.name);
    }
    return names;
}

std::vector<std::string> owners_of(const OptimizerOption& option) {
    std::vector<std::string> names;
    for (std::size_t kind = 0; kind < optimizer_names.size(); ++kind) {
        if (option.has[kind]) names.emplace_back(optimizer_names[kind]);
    }
    return names;
}

void check_at_least_zero(std::string_view key, double value) {
    if (!(value >= 0.0 && std::isfinite(value))) user_error("{} is {}; it must be 0 or more.", key, value);
}

void check_fraction(std::string_view key, double value) {
    if (!(value >= 0.0 && value < 1.0)) user_error("{} is {}; it must be in [0, 1).", key, value);
}

}  // namespace

std::string_view optimizer_name(OptimizerKind kind) {
    const auto index = static_cast<std::size_t>(kind);
    STRATA_CHECK(index < optimizer_names.size(), "unknown optimizer {}", index);
    return optimizer_names[index];
}

OptimizerKind parse_optimizer_kind(std::string_view name) {
    if (name == "adamw_torch" || name == "adamw_torch_fused") return OptimizerKind::adamw;
    return static_cast<OptimizerKind>(
        index_of_name("optimizer", name, {optimizer_names.begin(), optimizer_names.end()}));
}

bool share_moments(OptimizerKind a, OptimizerKind b) {
    return (a == OptimizerKind::sgd) == (b == OptimizerKind::sgd);
}

OptimizerConfig with_overrides(const OptimizerConfig& optimizer, const OptimizerOverrides& own) {
    OptimizerConfig config = optimizer;
    config.weight_decay = own.weight_decay.value_or(config.weight_decay);
    config.beta1 = own.beta1.value_or(config.beta1);
    config.beta2 = own.beta2.value_or(config.beta2);
    config.epsilon = own.epsilon.value_or(config.epsilon);
    return config;
}

void check_optimizer_options(OptimizerKind kind, std::span<const std::string_view> set) {
    for (const std::string_view name : set) {
        const auto* const option = std::find_if(optimizer_options.begin(), optimizer_options.end(),
                                                [name](const OptimizerOption& known) { return known.name == name; });
        STRATA_CHECK(option != optimizer_options.end(), "no optimizer has an option '{}'", name);
        if (option->has[static_cast<std::size_t>(kind)]) continue;
        user_error("{} is not an option of optimizer '{}', but of {}. {} has {}.", name, optimizer_name(kind),
                   listed(owners_of(*option)), optimizer_name(kind), listed(options_of(kind)));
    }
}

void check_optimizer(const OptimizerConfig& optimizer) {
    check_at_least_zero("weight_decay", optimizer.weight_decay);
    check_at_least_zero("adam_epsilon", optimizer.epsilon);
    check_fraction("adam_beta1", optimizer.beta1);
    check_fraction("adam_beta2", optimizer.beta2);
    check_fraction("momentum", optimizer.momentum);
    if (optimizer.nesterov && optimizer.momentum == 0.0) {
        user_error("Nesterov needs momentum: set momentum above 0 (0.9 is usual), or nesterov to false.");
    }
}

int state_tensors(const OptimizerConfig& optimizer) {
    if (optimizer.kind != OptimizerKind::sgd) return 2;
    return optimizer.momentum != 0.0 ? 1 : 0;
}

}  // namespace strata::optim
