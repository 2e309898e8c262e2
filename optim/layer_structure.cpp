#include "optim/layer_structure.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/weight_decay.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>

namespace strata::optim {

namespace {

using Components = std::vector<std::string_view>;

constexpr std::array<std::string_view, 4> containers{"layer", "layers", "h", "blocks"};
constexpr std::array<std::string_view, 13> embedding_names{
    "embeddings", "embeddings_project", "embedding", "embed",     "embed_tokens",    "embed_positions",     "wte",
    "wpe",        "patch_embed",        "pos_embed", "cls_token", "word_embeddings", "position_embeddings",
};

template <std::size_t size>
bool has(const std::array<std::string_view, size>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// A parameter's place in a stack of layers: `path` is everything up to the number.
struct InStack {
    Components path;
    int layer;
};

std::optional<InStack> find_in_stack(const Components& components) {
    for (std::size_t i = 0; i + 2 < components.size(); ++i) {
        const auto number = component_number(components[i + 1]);
        if (number && has(containers, components[i])) {
            return InStack{Components(components.begin(), components.begin() + static_cast<std::ptrdiff_t>(i) + 1),
                           *number};
        }
    }
    return std::nullopt;
}

bool names_embedding(const Components& components) {
    return std::any_of(components.begin(), components.end(),
                       [](std::string_view component) { return has(embedding_names, component); });
}

bool names_norm(const Components& components) {
    return std::any_of(components.begin(), components.end(), is_norm_component);
}

class Finder {
  public:
    Finder(const Manifest& manifest, std::string_view policy) : manifest_(manifest), policy_(policy) {
        for (const Parameter& parameter : manifest) components_.push_back(split_components(parameter.name));
    }

    /// What the model lacks; empty when it has all that run() asks for.
    std::string_view lack() {
        if (!find_stack()) return "no numbered layers";
        if (!find_backbone()) return "no embeddings before the layers";
        return {};
    }

    LayerStructure run() {
        if (const std::string_view what = lack(); !what.empty()) refuse_model(what);
        LayerStructure structure;
        std::set<int> numbers;
        for (std::size_t i = 0; i < manifest_.size(); ++i) {
            const Place place = place_of(i);
            if (place.part == Part::layer) numbers.insert(place.layer);
            structure.places.push_back(place);
        }
        structure.layers = *numbers.rbegin() + 1;
        for (int layer = 0; layer < structure.layers; ++layer) {
            if (!numbers.contains(layer)) {
                user_error(
                    "Policy '{}': {}.{} has no parameters, though {}.{} has; the layers must be numbered from 0 "
                    "without a gap.",
                    policy_, stack_text(), layer, stack_text(), structure.layers - 1);
            }
        }
        return structure;
    }

  private:
    bool find_stack() {
        for (std::size_t i = 0; i < components_.size(); ++i) {
            if (auto found = find_in_stack(components_[i])) {
                stack_ = std::move(found->path);
                first_layer_parameter_ = i;
                return true;
            }
        }
        return false;
    }

    bool find_backbone() {
        bool found = false;
        for (std::size_t i = 0; i < first_layer_parameter_; ++i) {
            if (!names_embedding(components_[i])) continue;
            const std::size_t shared = shared_components(components_[i], stack_);
            backbone_depth_ = found ? std::min(backbone_depth_, shared) : shared;
            found = true;
        }
        return found;
    }

    Place place_of(std::size_t i) const {
        const Components& components = components_[i];
        if (const auto found = find_in_stack(components); found && found->path == stack_) {
            return {Part::layer, found->layer};
        }
        if (std::find(components.begin(), components.end(), "pooler") != components.end()) return {Part::pooler, -1};
        const bool before = i < first_layer_parameter_;
        if (names_embedding(components) && (before || in_backbone(components))) return {Part::embeddings, -1};
        if (!before && (!in_backbone(components) || names_norm(components))) return {Part::head, -1};
        refuse_parameter(i);
    }

    /// Without a common prefix the backbone is what shares the layers' own first component.
    bool in_backbone(const Components& components) const {
        const std::size_t depth = std::max<std::size_t>(backbone_depth_, 1);
        return shared_components(components, stack_) >= std::min(depth, stack_.size());
    }

    std::string stack_text() const { return join(stack_, "."); }

    [[noreturn]] void refuse_model(std::string_view what) const {
        std::vector<std::string_view> seen;
        for (std::size_t i = 0; i < manifest_.size() && i < 5; ++i) seen.emplace_back(manifest_[i].name);
        user_error(
            "Policy '{}' finds {} in this model. It looks for embeddings, then for encoder.layer.N, "
            "transformer.layer.N, layers.N, h.N or blocks.N; the first names are: {}{}. Policies 'single', "
            "'two-part', 'prefix-decay', 'parameter-decay' and 'rules' work with any names.",
            policy_, what, join(seen, ", "), manifest_.size() > seen.size() ? ", ..." : "");
    }

    [[noreturn]] void refuse_parameter(std::size_t i) const {
        std::vector<std::string> others;
        for (std::size_t k = 0; k < manifest_.size(); ++k) {
            if (k != i) others.push_back(manifest_[k].name);
        }
        user_error(
            "Policy '{}' has no group for parameter '{}': it is not in the embeddings, not in a layer ({}.N), and not "
            "in the head, which lies after the layers and outside their model. Nearest names: {}. Policies 'single', "
            "'prefix-decay', 'parameter-decay' and 'rules' work with any names.",
            policy_, manifest_[i].name, stack_text(), join(nearest_names(manifest_[i].name, others), ", "));
    }

    const Manifest& manifest_;
    std::string_view policy_;
    std::vector<Components> components_;
    Components stack_;  // "bert", "encoder", "layer"
    std::size_t first_layer_parameter_ = 0;
    std::size_t backbone_depth_ = 0;  // how many of stack_'s components are the backbone's prefix
};

}  // namespace

bool has_layers(const Manifest& manifest) {
    return Finder(manifest, {}).lack().empty();
}

LayerStructure find_layers(const Manifest& manifest, std::string_view policy) {
    return Finder(manifest, policy).run();
}

}  // namespace strata::optim
