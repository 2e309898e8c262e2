#include "dist/state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "core/error.h"

namespace strata::dist {

std::string_view name_of(StateKind kind) {
    constexpr std::array<std::string_view, 3> names{"master", "exp_avg", "exp_avg_sq"};
    return names[static_cast<std::size_t>(kind)];
}

float*& pointer_of(StateGroup& group, StateKind kind) {
    switch (kind) {
        case StateKind::exp_avg:
            return group.exp_avg;
        case StateKind::exp_avg_sq:
            return group.exp_avg_sq;
        case StateKind::master:
            break;
    }
    STRATA_CHECK(group.bf16_weights == nullptr, "the bf16 weights of {} are in no snapshot", group.name);
    return group.master;
}

const float* pointer_of(const StateGroup& group, StateKind kind) {
    return pointer_of(const_cast<StateGroup&>(group), kind);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

bool parse_shape(std::string_view text, std::vector<std::int64_t>& shape) {
    shape.clear();
    if (text == "scalar") return true;
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at != end) {
        std::int64_t dimension = 0;
        const auto [next, error] = std::from_chars(at, end, dimension);
        if (error != std::errc() || dimension < 0) return false;
        shape.push_back(dimension);
        if (next == end) return true;
        if (*next != 'x') return false;
        at = next + 1;
    }
    return false;
}

}  // namespace strata::dist
