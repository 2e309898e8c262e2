#include "core/error.h"
#include "optim/layer_structure.h"
#include "optim/name_components.h"
#include "optim/policy_groups.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace strata::optim {

namespace {

/// Two parts of any model: the last run of neighbours under the first component in which not all names agree, and the
/// rest.
std::vector<bool> last_run(const Manifest& manifest) {
    const auto first = split_components(manifest.front().name);
    std::size_t common = first.size();
    for (const Parameter& parameter : manifest) {
        common = std::min(common, shared_components(first, split_components(parameter.name)));
    }
    std::vector<bool> head(manifest.size(), false);
    const std::vector<GroupDraft> runs = prefix_runs(manifest, common + 1);
    for (const std::size_t i : runs.back().parameters) head[i] = true;
    return head;
}

std::vector<bool> structural_head(const Manifest& manifest, const PolicyConfig& config) {
    const LayerStructure structure = find_layers(manifest, policy_name(config.kind));
    std::vector<bool> head;
    for (const Place& place : structure.places) {
        head.push_back(place.part == Part::head || (place.part == Part::pooler && config.pooler_with_head));
    }
    return head;
}

}  // namespace

std::vector<GroupDraft> two_part_groups(const Manifest& manifest, const PolicyConfig& config) {
    const std::vector<bool> head = has_layers(manifest) ? structural_head(manifest, config) : last_run(manifest);
    std::vector<GroupDraft> groups{{"backbone", config.backbone_multiplier}, {"head", 1.0}};
    for (std::size_t i = 0; i < head.size(); ++i) groups[head[i] ? 1 : 0].parameters.push_back(i);
    return groups;
}

std::vector<GroupDraft> part_groups(const Manifest& manifest, const PolicyConfig& config) {
    const std::vector<double>& multipliers = config.part_multipliers;
    if (multipliers.size() != 3) {
        user_error(
            "Policy 'multipliers' has {} multipliers for its parts base, extra and head; give three, or name "
            "each group with its patterns.",
            multipliers.size());
    }
    std::vector<GroupDraft> groups{{"base", multipliers[0]}, {"extra", multipliers[1]}, {"head", multipliers[2]}};
    for (const GroupDraft& group : groups) {
        if (group.multiplier >= 0.0 && std::isfinite(group.multiplier)) continue;
        user_error("Policy 'multipliers': the multiplier of '{}' is {}; it must be 0 or more.", group.name,
                   group.multiplier);
    }
    const LayerStructure structure = find_layers(manifest, policy_name(config.kind));
    const std::string_view last = split_components(manifest.back().name).front();
    for (std::size_t i = 0; i < manifest.size(); ++i) {
        const Part part = structure.places[i].part;
        const bool base = part == Part::embeddings || part == Part::layer;
        const bool head = part == Part::head && split_components(manifest[i].name).front() == last;
        groups[base ? 0 : head ? 2 : 1].parameters.push_back(i);
    }
    if (groups[1].parameters.empty()) {
        user_error(
            "Policy 'multipliers': this model has no part 'extra', nothing between its layers and '{}'. Use "
            "policy 'two-part', or name each group with its patterns.",
            last);
    }
    return groups;
}

std::vector<GroupDraft> layer_decay_groups(const Manifest& manifest, const PolicyConfig& config) {
    const LayerStructure structure = find_layers(manifest, policy_name(config.kind));
    const auto layers = static_cast<std::size_t>(structure.layers);
    const std::size_t shift = config.electra ? 1 : 0;
    std::vector<GroupDraft> groups{{"embeddings", power(config.decay, layers + 1 + shift)}};
    for (std::size_t layer = 0; layer < layers; ++layer) {
        groups.push_back({fmt::format("layer_{}", layer), power(config.decay, layers - layer + shift)});
    }
    groups.push_back({"head", 1.0});

    const auto group_of = [&](const Place& place) -> std::size_t {
        switch (place.part) {
            case Part::embeddings:
                return 0;
            case Part::layer:
                return 1 + static_cast<std::size_t>(place.layer);
            case Part::pooler:
                return config.pooler_with_head ? layers + 1 : layers;
            case Part::head:
                break;
        }
        return layers + 1;
    };
    for (std::size_t i = 0; i < structure.places.size(); ++i) {
        groups[group_of(structure.places[i])].parameters.push_back(i);
    }
    return groups;
}

}  // namespace strata::optim
