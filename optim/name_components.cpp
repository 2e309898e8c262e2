#include "optim/name_components.h"

#include <algorithm>

namespace strata::optim {

std::vector<std::string_view> split_components(std::string_view name) {
    std::vector<std::string_view> components;
    std::size_t begin = 0;
    while (true) {
        const std::size_t dot = name.find('.', begin);
        components.push_back(name.substr(begin, dot - begin));
        if (dot == std::string_view::npos) return components;
        begin = dot + 1;
    }
}

bool contains_components(std::string_view name, std::string_view pattern) {
    const auto names = split_components(name);
    const auto wanted = split_components(pattern);
    return std::search(names.begin(), names.end(), wanted.begin(), wanted.end()) != names.end();
}

std::size_t shared_components(std::span<const std::string_view> a, std::span<const std::string_view> b) {
    std::size_t count = 0;
    while (count < a.size() && count < b.size() && a[count] == b[count]) ++count;
    return count;
}

std::optional<int> component_number(std::string_view component) {
    if (component.empty() || component.size() > 6) return std::nullopt;
    int value = 0;
    for (const char c : component) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + (c - '0');
    }
    return value;
}

}  // namespace strata::optim
