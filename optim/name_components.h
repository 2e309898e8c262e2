// Parameter names as lists of dotted components. All patterns are anchored at components, so that `layer.1` never
// matches `layer.10`.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

/// "a.b.c" gives {"a", "b", "c"}; the views point into `name`.
std::vector<std::string_view> split_components(std::string_view name);

/// True when `pattern`'s components stand, whole and in a row, somewhere in `name`'s.
bool contains_components(std::string_view name, std::string_view pattern);

/// How many leading components two names share.
std::size_t shared_components(std::span<const std::string_view> a, std::span<const std::string_view> b);

/// The value of a component of digits only; nothing for any other component, or one of more than six digits.
std::optional<int> component_number(std::string_view component);

/// The inverse of split_components, with any separator.
template <typename Texts>
std::string join(const Texts& texts, std::string_view separator) {
    std::string joined;
    bool first = true;
    for (const auto& text : texts) {
        if (!first) joined += separator;
        joined += text;
        first = false;
    }
    return joined;
}

}  // namespace strata::optim
