#include "optim/policy.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/layer_structure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strata::optim {

namespace {

/// By repeated multiplication, not std::pow: the plan's hash must be equal on every platform, and pow's last bit is
/// not.
double power(double base, int exponent) {
    double result = 1.0;
    for (int i = 0; i < exponent; ++i) result *= base;
    return result;
}

void check_config(const PolicyConfig& config) {
    if (config.kind == PolicyKind::layer_decay && !(config.decay > 0.0 && config.decay <= 1.0)) {
        user_error("Layer decay {} is outside (0, 1]. Usual values are 0.8 to 0.95; 1 gives every layer one rate.",
                   config.decay);
    }
    const double multiplier = config.backbone_multiplier;
    if (config.kind == PolicyKind::two_part && !(multiplier >= 0.0 && std::isfinite(multiplier))) {
        user_error("backbone_multiplier {} must be 0 or more; 0 freezes the backbone.", multiplier);
    }
}

std::vector<GroupDraft> single_group(const Manifest& manifest) {
    GroupDraft all{"all", 1.0, std::vector<std::size_t>(manifest.size())};
    std::iota(all.parameters.begin(), all.parameters.end(), std::size_t{0});
    return {std::move(all)};
}

std::vector<GroupDraft> two_part_groups(const LayerStructure& structure, const PolicyConfig& config) {
    std::vector<GroupDraft> groups{{"backbone", config.backbone_multiplier, {}}, {"head", 1.0, {}}};
    for (std::size_t i = 0; i < structure.places.size(); ++i) {
        const Part part = structure.places[i].part;
        const bool head = part == Part::head || (part == Part::pooler && config.pooler_with_head);
        groups[head ? 1 : 0].parameters.push_back(i);
    }
    return groups;
}

std::vector<GroupDraft> layer_decay_groups(const LayerStructure& structure, const PolicyConfig& config) {
    const int layers = structure.layers;
    const int shift = config.electra ? 1 : 0;
    std::vector<GroupDraft> groups{{"embeddings", power(config.decay, layers + 1 + shift), {}}};
    for (int layer = 0; layer < layers; ++layer) {
        groups.push_back({fmt::format("layer_{}", layer), power(config.decay, layers - layer + shift), {}});
    }
    groups.push_back({"head", 1.0, {}});

    const auto group_of = [&](const Place& place) {
        switch (place.part) {
            case Part::embeddings:
                return 0;
            case Part::layer:
                return 1 + place.layer;
            case Part::pooler:
                return config.pooler_with_head ? layers + 1 : layers;
            case Part::head:
                break;
        }
        return layers + 1;
    };
    for (std::size_t i = 0; i < structure.places.size(); ++i) {
        groups[static_cast<std::size_t>(group_of(structure.places[i]))].parameters.push_back(i);
    }
    return groups;
}

void check_groups(const std::vector<GroupDraft>& groups, std::string_view policy) {
    for (const GroupDraft& group : groups) {
        if (!group.parameters.empty()) continue;
        user_error(
            "Policy '{}': group '{}' is empty; no parameter of this model belongs to it. For a model without a head, "
            "add one (a classification head does) or use policy 'single'.",
            policy, group.name);
    }
}

}  // namespace

std::string_view policy_name(PolicyKind kind) {
    switch (kind) {
        case PolicyKind::single:
            return "single";
        case PolicyKind::two_part:
            return "two-part";
        case PolicyKind::layer_decay:
            return "layer-decay";
    }
    STRATA_CHECK(false, "unknown policy {}", static_cast<int>(kind));
    return {};
}

PolicyKind parse_policy_kind(std::string_view name) {
    std::string dashed(name);
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    for (const PolicyKind kind : {PolicyKind::single, PolicyKind::two_part, PolicyKind::layer_decay}) {
        if (dashed == policy_name(kind)) return kind;
    }
    user_error("Unknown policy '{}'.{} The policies are single, two-part and layer-decay.", name,
               did_you_mean(name, {"single", "two-part", "layer-decay"}));
}

std::vector<GroupDraft> make_groups(const Manifest& manifest, const PolicyConfig& config) {
    check_manifest(manifest);
    check_config(config);
    check_no_decay(manifest, config.no_decay);
    if (config.kind == PolicyKind::single) return single_group(manifest);

    const std::string_view policy = policy_name(config.kind);
    const LayerStructure structure = find_layers(manifest, policy);
    auto groups = config.kind == PolicyKind::two_part ? two_part_groups(structure, config)
                                                      : layer_decay_groups(structure, config);
    check_groups(groups, policy);
    return groups;
}

}  // namespace strata::optim
