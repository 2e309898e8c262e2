// Values a user can set: from a flag's text, from a TOML node, and back to TOML. What type a value is of, the member
// that it is for says.
#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace strata::app {

using Value = std::variant<std::string, bool, std::int64_t, double, std::optional<std::int64_t>, std::optional<double>,
                           std::vector<std::string>, std::vector<double>>;

/// A member of S of one of these types, in their order.
template <typename S>
using MemberOf =
    std::variant<std::string S::*, bool S::*, std::int64_t S::*, double S::*, std::optional<std::int64_t> S::*,
                 std::optional<double> S::*, std::vector<std::string> S::*, std::vector<double> S::*>;

template <typename S>
Value get_member(const S& from, const MemberOf<S>& member) {
    return std::visit([&](auto pointer) -> Value { return from.*pointer; }, member);
}

/// `value` must be of the member's type.
template <typename S>
void set_member(S& to, const MemberOf<S>& member, Value value) {
    const auto set = [&]<typename T>(T S::*pointer) { to.*pointer = std::get<T>(std::move(value)); };
    std::visit(set, member);
}

/// A value of the type of `like` from text or node; lists from text are split at commas. Throw UserError for what is
/// none; `where` opens the message ("--learning_rate", "run.toml:12: learning_rate").
Value parse_text(const Value& like, std::string_view text, const std::string& where);
Value parse_node(const Value& like, const toml::node& node, const std::string& where);

/// As TOML; an unset optional gives an empty string.
std::string to_text(const Value& value);

/// "NUMBER", "true|false": what --help shows.
std::string type_hint(const Value& like);

}  // namespace strata::app
