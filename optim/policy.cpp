#include "optim/policy.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/policy_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

namespace strata::optim {

namespace {

constexpr std::array kinds{
    PolicyKind::single,          PolicyKind::two_part,     PolicyKind::multipliers, PolicyKind::layer_decay,
    PolicyKind::parameter_decay, PolicyKind::prefix_decay, PolicyKind::slice,       PolicyKind::rules,
};

bool decays(PolicyKind kind) {
    return kind == PolicyKind::layer_decay || kind == PolicyKind::parameter_decay || kind == PolicyKind::prefix_decay;
}

void check_config(const PolicyConfig& config) {
    if (decays(config.kind) && !(config.decay > 0.0 && config.decay <= 1.0)) {
        user_error("Layer decay {} is outside (0, 1]. Usual values are 0.8 to 0.95; 1 gives every layer one rate.",
                   config.decay);
    }
    const double multiplier = config.backbone_multiplier;
    if (config.kind == PolicyKind::two_part && !(multiplier >= 0.0 && std::isfinite(multiplier))) {
        user_error("backbone_multiplier {} must be 0 or more; 0 freezes the backbone.", multiplier);
    }
    if (config.kind == PolicyKind::prefix_decay && config.depth < 1) {
        user_error(
            "depth is {}; it must be 1 or more: how many leading components of their names a group's parameters "
            "share.",
            config.depth);
    }
    const bool ruled =
        config.kind == PolicyKind::rules || config.kind == PolicyKind::multipliers || config.kind == PolicyKind::slice;
    if (!ruled && !config.rules.empty()) {
        user_error(
            "There are explicit groups ('{}'), but policy '{}' makes its own. Use policy 'rules', or leave the "
            "groups out.",
            config.rules.front().name, policy_name(config.kind));
    }
}

std::vector<GroupDraft> single_group(const Manifest& manifest) {
    GroupDraft all{"all", 1.0, std::vector<std::size_t>(manifest.size())};
    std::iota(all.parameters.begin(), all.parameters.end(), std::size_t{0});
    return {std::move(all)};
}

/// The groups of `split` with the rates of the slice.
std::vector<GroupDraft> slice_groups(const Manifest& manifest, const PolicyConfig& config, double learning_rate) {
    if (config.split == PolicyKind::slice) user_error("Policy 'slice' cannot be its own split; name another policy.");
    check_slice(config.slice, "Policy 'slice'");
    if (!(learning_rate > 0.0)) {
        user_error("Policy 'slice' needs a learning_rate above 0, which its rates are multiples of; it is {}.",
                   learning_rate);
    }
    PolicyConfig inner = config;
    inner.kind = config.split;
    std::vector<GroupDraft> groups = make_groups(manifest, inner, learning_rate);
    const std::vector<double> rates = slice_rates(config.slice, groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g) {
        if (groups[g].multiplier != 0.0) groups[g].multiplier = rates[g] / learning_rate;
    }
    return groups;
}

void check_groups(const std::vector<GroupDraft>& groups, std::string_view policy) {
    std::set<std::string_view> names;
    for (const GroupDraft& group : groups) {
        check_name(group.name, "Group");
        STRATA_CHECK(names.insert(group.name).second, "policy {} makes two groups '{}'", policy, group.name);
        if (!group.parameters.empty()) continue;
        user_error(
            "Policy '{}': group '{}' is empty; no parameter of this model belongs to it. For a model without a head, "
            "add one (a classification head does) or use policy 'single'.",
            policy, group.name);
    }
}

std::vector<GroupDraft> draft_groups(const Manifest& manifest, const PolicyConfig& config, double learning_rate) {
    switch (config.kind) {
        case PolicyKind::single:
            return single_group(manifest);
        case PolicyKind::two_part:
            return two_part_groups(manifest, config);
        case PolicyKind::multipliers:
            return config.rules.empty() ? part_groups(manifest, config) : rule_groups(manifest, config.rules);
        case PolicyKind::layer_decay:
            return layer_decay_groups(manifest, config);
        case PolicyKind::parameter_decay:
            return parameter_decay_groups(manifest, config.decay);
        case PolicyKind::prefix_decay:
            return prefix_decay_groups(manifest, config.decay, static_cast<std::size_t>(config.depth));
        case PolicyKind::slice:
            return slice_groups(manifest, config, learning_rate);
        case PolicyKind::rules:
            return rule_groups(manifest, config.rules);
    }
    STRATA_CHECK(false, "unknown policy {}", static_cast<int>(config.kind));
    return {};
}

}  // namespace

std::string_view policy_name(PolicyKind kind) {
    switch (kind) {
        case PolicyKind::single:
            return "single";
        case PolicyKind::two_part:
            return "two-part";
        case PolicyKind::multipliers:
            return "multipliers";
        case PolicyKind::layer_decay:
            return "layer-decay";
        case PolicyKind::parameter_decay:
            return "parameter-decay";
        case PolicyKind::prefix_decay:
            return "prefix-decay";
        case PolicyKind::slice:
            return "slice";
        case PolicyKind::rules:
            return "rules";
    }
    STRATA_CHECK(false, "unknown policy {}", static_cast<int>(kind));
    return {};
}

std::vector<std::string> policy_names() {
    std::vector<std::string> names;
    for (const PolicyKind kind : kinds) names.emplace_back(policy_name(kind));
    return names;
}

PolicyKind parse_policy_kind(std::string_view name) {
    return kinds[index_of_name("policy", name, policy_names())];
}

std::vector<GroupDraft> make_groups(const Manifest& manifest, const PolicyConfig& config, double learning_rate) {
    check_manifest(manifest);
    check_config(config);
    check_no_decay(manifest, config.no_decay);
    auto groups = draft_groups(manifest, config, learning_rate);
    check_groups(groups, policy_name(config.kind));
    return groups;
}

void check_name(std::string_view name, std::string_view what) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '.';
    };
    if (name.empty()) user_error("{} without a name: give it one, as 'backbone' or 'layer_1'.", what);
    if (!std::all_of(name.begin(), name.end(), allowed) || name == "." || name == "..") {
        user_error("{} '{}': a name has letters, digits, '_', '-' and '.' only.", what, name);
    }
}

}  // namespace strata::optim
