#include "apps/strata/option_value.h"

#include <algorithm>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::app {
namespace {

/// What an option's value may be, for people.
std::string choices_text(const Option& option, std::string_view separator) {
    std::string text;
    for (const auto& choice : option.choices) {
        if (!choice.empty()) text.append(text.empty() ? "" : separator).append(choice);
    }
    return text;
}

void check_choice(const Option& option, const std::string& value, const std::string& where) {
    if (std::count(option.choices.begin(), option.choices.end(), value) > 0) return;
    if (option.check != nullptr) {
        try {
            return option.check(value);
        } catch (const UserError& error) {
            user_error("{}: {}", where, error.what());
        }
    }
    if (option.choices.empty()) return;
    user_error("{}: '{}' is not known; choose one of: {}.{}", where, value, choices_text(option, ", "),
               did_you_mean(value, option.choices));
}

/// A text that may be "true" is a boolean with more to say.
bool says_true(const Option& option) {
    return std::count(option.choices.begin(), option.choices.end(), "true") > 0;
}

void assign(Config& config, const Option& option, Value value, const std::string& where) {
    if (const auto* text = std::get_if<std::string>(&value)) check_choice(option, *text, where);
    option.slot.set(config, std::move(value));
}

}  // namespace

bool is_boolean(const Option& option) {
    return is_boolean(option.slot.get(Config{})) || says_true(option);
}

void assign_text(Config& config, const Option& option, std::string_view text, const std::string& where) {
    assign(config, option, parse_text(option.slot.get(config), text, where), where);
}

void assign_node(Config& config, const Option& option, const toml::node& node, const std::string& where) {
    const auto flag = node.as_boolean();
    if (flag != nullptr && says_true(option)) return assign_text(config, option, **flag ? "true" : "false", where);
    assign(config, option, parse_node(option.slot.get(config), node, where), where);
}

std::string to_text(const Config& config, const Option& option) {
    return to_text(option.slot.get(config));
}

std::string value_hint(const Option& option) {
    return option.choices.empty() ? type_hint(option.slot.get(Config{})) : choices_text(option, "|");
}

}  // namespace strata::app
