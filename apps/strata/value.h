// Values a user can set: from a flag's text, from a TOML node, and back to TOML. What type a value is of, the place
// that it is kept in says.
#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace strata::app {

using Value = std::variant<std::string, bool, std::int64_t, double, std::optional<std::int64_t>, std::optional<double>,
                           std::optional<bool>, std::vector<std::string>, std::vector<double>>;

/// Where an S keeps a value: in a member, or wherever `get` finds it. `set` takes a value of the type that `get` gives.
template <typename S>
struct Slot {
    std::function<Value(const S&)> get;
    std::function<void(S&, Value)> set;

    Slot(std::function<Value(const S&)> getter, std::function<void(S&, Value)> setter)
        : get(std::move(getter)), set(std::move(setter)) {}

    template <typename T>
    Slot(T S::*member)  // NOLINT(google-explicit-constructor): tables of options name members
        : get([member](const S& from) -> Value { return from.*member; }),
          set([member](S& to, Value value) { to.*member = std::get<T>(std::move(value)); }) {}
};

bool is_boolean(const Value& value);

/// A value of the type of `like` from text or node; lists from text are split at commas. Throw UserError for what is
/// none; `where` opens the message ("--learning_rate", "run.toml:12: learning_rate").
Value parse_text(const Value& like, std::string_view text, const std::string& where);
Value parse_node(const Value& like, const toml::node& node, const std::string& where);

/// As TOML; an unset optional gives an empty string.
std::string to_text(const Value& value);

/// "NUMBER", "true|false": what --help shows.
std::string type_hint(const Value& like);

}  // namespace strata::app
