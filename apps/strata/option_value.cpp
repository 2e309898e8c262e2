#include "apps/strata/option_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::app {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
    using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

double parse_number(std::string_view text, const std::string& where) {
    const auto word = trimmed(text);
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value)) {
        user_error("{}: '{}' is not a number", where, text);
    }
    return value;
}

std::int64_t parse_integer(std::string_view text, const std::string& where) {
    const auto word = trimmed(text);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc() && end == word.data() + word.size()) return value;
    // "1e3" is how people write a thousand steps; anything with a fraction is still refused.
    const double number = parse_number(text, where);
    if (number != std::floor(number) || std::abs(number) > 9e15)
        user_error("{}: '{}' is not a whole number", where, text);
    return static_cast<std::int64_t>(number);
}

bool parse_boolean(std::string_view text, const std::string& where) {
    std::string word(trimmed(text));
    std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
    if (word == "true" || word == "1" || word == "yes" || word == "on") return true;
    if (word == "false" || word == "0" || word == "no" || word == "off") return false;
    user_error("{}: '{}' is neither true nor false", where, text);
}

std::vector<std::string> parse_list(std::string_view text) {
    std::vector<std::string> items;
    std::istringstream stream{std::string(text)};
    for (std::string item; std::getline(stream, item, ',');) {
        if (!trimmed(item).empty()) items.emplace_back(trimmed(item));
    }
    return items;
}

void check_choice(const Option& option, const std::string& value, const std::string& where) {
    if (option.choices.empty() || std::count(option.choices.begin(), option.choices.end(), value) > 0) return;
    std::string known;
    for (const auto& choice : option.choices) {
        if (!choice.empty()) known += (known.empty() ? "" : ", ") + choice;
    }
    user_error("{}: '{}' is not known; choose one of: {}.{}", where, value, known, did_you_mean(value, option.choices));
}

[[noreturn]] void wrong_type(const Option& option, const std::string& where) {
    user_error("{}: expected {}", where, value_hint(option));
}

std::string quoted(const std::string& text) {
    std::ostringstream out;
    out << toml::value<std::string>(text);
    return out.str();
}

/// The shortest text that reads back as the same double, always recognisable as a TOML float.
std::string number_text(double value) {
    std::string text = fmt::format("{}", value);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
}

std::string list_text(const std::vector<std::string>& items) {
    std::string text = "[";
    for (const auto& item : items) text += (text.size() > 1 ? ", " : "") + quoted(item);
    return text + "]";
}

}  // namespace

bool is_boolean(const Option& option) {
    return std::holds_alternative<bool Config::*>(option.member);
}

void assign_text(Config& config, const Option& option, std::string_view text, const std::string& where) {
    std::visit(Overloaded{
                   [&](std::string Config::*member) {
                       check_choice(option, std::string(text), where);
                       config.*member = text;
                   },
                   [&](bool Config::*member) { config.*member = parse_boolean(text, where); },
                   [&](std::int64_t Config::*member) { config.*member = parse_integer(text, where); },
                   [&](double Config::*member) { config.*member = parse_number(text, where); },
                   [&](std::optional<std::int64_t> Config::*member) { config.*member = parse_integer(text, where); },
                   [&](std::optional<double> Config::*member) { config.*member = parse_number(text, where); },
                   [&](std::vector<std::string> Config::*member) { config.*member = parse_list(text); },
               },
               option.member);
}

void assign_node(Config& config, const Option& option, const toml::node& node, const std::string& where) {
    if (std::holds_alternative<std::vector<std::string> Config::*>(option.member) && node.is_array()) {
        std::vector<std::string> items;
        for (const auto& item : *node.as_array()) {
            const auto text = item.value<std::string>();
            if (!text || !item.is_string()) wrong_type(option, where);
            items.push_back(*text);
        }
        config.*std::get<std::vector<std::string> Config::*>(option.member) = std::move(items);
        return;
    }
    // A TOML type that the member cannot hold must not slip through as text: `seed = "7"` is a mistake, `rate = 1` is
    // not.
    const bool text_member = std::holds_alternative<std::string Config::*>(option.member) ||
                             std::holds_alternative<std::vector<std::string> Config::*>(option.member);
    if (node.is_string() && text_member) return assign_text(config, option, **node.as_string(), where);
    if (node.is_boolean() && is_boolean(option))
        return assign_text(config, option, **node.as_boolean() ? "true" : "false", where);
    const bool takes_number = !text_member && !is_boolean(option);
    if (node.is_integer() && takes_number)
        return assign_text(config, option, std::to_string(**node.as_integer()), where);
    if (node.is_floating_point() && takes_number) {
        return assign_text(config, option, fmt::format("{}", **node.as_floating_point()), where);
    }
    wrong_type(option, where);
}

std::string to_text(const Config& config, const Option& option) {
    return std::visit(Overloaded{
                          [&](std::string Config::*member) { return quoted(config.*member); },
                          [&](bool Config::*member) -> std::string { return config.*member ? "true" : "false"; },
                          [&](std::int64_t Config::*member) { return std::to_string(config.*member); },
                          [&](double Config::*member) { return number_text(config.*member); },
                          [&](std::optional<std::int64_t> Config::*member) {
                              return config.*member ? std::to_string(*(config.*member)) : std::string();
                          },
                          [&](std::optional<double> Config::*member) {
                              return config.*member ? number_text(*(config.*member)) : std::string();
                          },
                          [&](std::vector<std::string> Config::*member) { return list_text(config.*member); },
                      },
                      option.member);
}

std::string value_hint(const Option& option) {
    if (!option.choices.empty()) {
        std::string hint;
        for (const auto& choice : option.choices) {
            if (!choice.empty()) hint += (hint.empty() ? "" : "|") + choice;
        }
        return hint;
    }
    return std::visit(Overloaded{
                          [](std::string Config::*) -> std::string { return "TEXT"; },
                          [](bool Config::*) -> std::string { return "true|false"; },
                          [](std::int64_t Config::*) -> std::string { return "INTEGER"; },
                          [](double Config::*) -> std::string { return "NUMBER"; },
                          [](std::optional<std::int64_t> Config::*) -> std::string { return "INTEGER"; },
                          [](std::optional<double> Config::*) -> std::string { return "NUMBER"; },
                          [](std::vector<std::string> Config::*) -> std::string { return "TEXT,TEXT,…"; },
                      },
                      option.member);
}

}  // namespace strata::app
