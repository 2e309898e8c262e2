#include "apps/strata/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"

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

std::string list_text(const std::vector<double>& items) {
    std::string text = "[";
    for (const double item : items) text += (text.size() > 1 ? ", " : "") + number_text(item);
    return text + "]";
}

std::vector<double> parse_numbers(std::string_view text, const std::string& where) {
    std::vector<double> numbers;
    for (const auto& item : parse_list(text)) numbers.push_back(parse_number(item, where));
    return numbers;
}

[[noreturn]] void wrong_type(const Value& like, const std::string& where) {
    user_error("{}: expected {}", where, type_hint(like));
}

Value strings_of(const toml::array& array, const Value& like, const std::string& where) {
    std::vector<std::string> items;
    for (const auto& item : array) {
        if (!item.is_string()) wrong_type(like, where);
        items.push_back(**item.as_string());
    }
    return items;
}

Value numbers_of(const toml::array& array, const Value& like, const std::string& where) {
    std::vector<double> items;
    for (const auto& item : array) {
        if (!item.is_number()) wrong_type(like, where);
        items.push_back(std::get<double>(parse_node(Value(0.0), item, where)));
    }
    return items;
}

}  // namespace

bool is_boolean(const Value& value) {
    return std::holds_alternative<bool>(value) || std::holds_alternative<std::optional<bool>>(value);
}

Value parse_text(const Value& like, std::string_view text, const std::string& where) {
    return std::visit(
        Overloaded{
            [&](const std::string&) -> Value { return std::string(text); },
            [&](bool) -> Value { return parse_boolean(text, where); },
            [&](std::int64_t) -> Value { return parse_integer(text, where); },
            [&](double) -> Value { return parse_number(text, where); },
            [&](const std::optional<std::int64_t>&) -> Value { return std::optional(parse_integer(text, where)); },
            [&](const std::optional<double>&) -> Value { return std::optional(parse_number(text, where)); },
            [&](const std::optional<bool>&) -> Value { return std::optional(parse_boolean(text, where)); },
            [&](const std::vector<std::string>&) -> Value { return parse_list(text); },
            [&](const std::vector<double>&) -> Value { return parse_numbers(text, where); },
        },
        like);
}

Value parse_node(const Value& like, const toml::node& node, const std::string& where) {
    const bool strings = std::holds_alternative<std::vector<std::string>>(like);
    const bool numbers = std::holds_alternative<std::vector<double>>(like);
    const bool boolean = is_boolean(like);
    if (node.is_array() && strings) return strings_of(*node.as_array(), like, where);
    if (node.is_array() && numbers) return numbers_of(*node.as_array(), like, where);
    // A TOML type that the value cannot be must not slip through as text: `seed = "7"` is a mistake, `rate = 1` is not.
    const bool takes_text = strings || std::holds_alternative<std::string>(like);
    if (node.is_string() && takes_text) return parse_text(like, **node.as_string(), where);
    if (node.is_boolean() && boolean) return parse_text(like, **node.as_boolean() ? "true" : "false", where);
    const bool takes_number = !takes_text && !boolean;
    if (node.is_integer() && takes_number) return parse_text(like, std::to_string(**node.as_integer()), where);
    if (node.is_floating_point() && takes_number) {
        return parse_text(like, fmt::format("{}", **node.as_floating_point()), where);
    }
    wrong_type(like, where);
}

std::string to_text(const Value& value) {
    return std::visit(
        Overloaded{
            [](const std::string& text) { return quoted(text); },
            [](bool flag) -> std::string { return flag ? "true" : "false"; },
            [](std::int64_t number) { return std::to_string(number); },
            [](double number) { return number_text(number); },
            [](const std::optional<std::int64_t>& number) { return number ? std::to_string(*number) : std::string(); },
            [](const std::optional<double>& number) { return number ? number_text(*number) : std::string(); },
            [](const std::optional<bool>& flag) -> std::string { return !flag   ? ""
                                                                        : *flag ? "true"
                                                                                : "false"; },
            [](const std::vector<std::string>& items) { return list_text(items); },
            [](const std::vector<double>& items) { return list_text(items); },
        },
        value);
}

std::string type_hint(const Value& like) {
    return std::visit(Overloaded{
                          [](const std::string&) -> std::string { return "TEXT"; },
                          [](bool) -> std::string { return "true|false"; },
                          [](std::int64_t) -> std::string { return "INTEGER"; },
                          [](double) -> std::string { return "NUMBER"; },
                          [](const std::optional<std::int64_t>&) -> std::string { return "INTEGER"; },
                          [](const std::optional<double>&) -> std::string { return "NUMBER"; },
                          [](const std::optional<bool>&) -> std::string { return "true|false"; },
                          [](const std::vector<std::string>&) -> std::string { return "TEXT,TEXT,…"; },
                          [](const std::vector<double>&) -> std::string { return "NUMBER,NUMBER,…"; },
                      },
                      like);
}

}  // namespace strata::app
