#include "optim/weight_decay.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"

#include <algorithm>
#include <cctype>

namespace strata::optim {

namespace {

bool is_bias_component(std::string_view component) {
    return component == "bias" || component.starts_with("bias_") || component.ends_with("_bias");
}

}  // namespace

bool is_norm_component(std::string_view component) {
    std::string lower(component);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    // norm1, layer_norm2: several in one block
    while (!lower.empty() && std::isdigit(static_cast<unsigned char>(lower.back())) != 0) lower.pop_back();
    return lower == "norm" || lower == "ln" || lower == "layernorm" || lower == "rmsnorm" || lower.starts_with("ln_") ||
           lower.ends_with("_norm") || lower.ends_with("_layernorm");
}

DecayDecision decide_decay(const Parameter& parameter, const std::vector<std::string>& no_decay) {
    const auto components = split_components(parameter.name);
    for (const std::string& entry : no_decay) {
        if (contains_components(parameter.name, entry)) return {false, fmt::format("no_decay lists '{}'", entry)};
    }
    if (is_bias_component(components.back())) {
        return {false, fmt::format("its last component, '{}', is a bias", components.back())};
    }
    for (const std::string_view component : components) {
        if (is_norm_component(component)) return {false, fmt::format("'{}' is a normalisation layer", component)};
    }
    return {true, "it is neither a bias, nor in a normalisation layer, nor listed in no_decay"};
}

void check_no_decay(const Manifest& manifest, const std::vector<std::string>& no_decay) {
    for (const std::string& entry : no_decay) {
        const bool matches = std::any_of(manifest.begin(), manifest.end(), [&](const Parameter& parameter) {
            return contains_components(parameter.name, entry);
        });
        if (matches) continue;
        std::vector<std::string> names;
        for (const Parameter& parameter : manifest) names.push_back(parameter.name);
        user_error(
            "no_decay lists '{}', which matches no parameter. An entry is one or more whole components of a name, as "
            "'classifier' or 'dense.weight'. Nearest names: {}.",
            entry, join(nearest_names(entry, names), ", "));
    }
}

}  // namespace strata::optim
