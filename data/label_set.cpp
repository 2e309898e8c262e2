#include "data/label_set.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::data {
namespace {

constexpr std::size_t labels_in_message = 20;

template <typename Number>
std::optional<Number> parse_whole(std::string_view text) {
    if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

/// How a class's name is kept: integers by value, so that "01" and "1" are one class.
std::string canonical(std::string_view text) {
    const auto integer = parse_integer(text);
    return integer ? std::to_string(*integer) : std::string(text);
}

struct Census {
    std::map<std::string_view, std::size_t> first_line;  // of each distinct label
    bool all_integers = true;
    const WrittenLabel* fraction = nullptr;  // the first of each kind
    const WrittenLabel* word = nullptr;
};

Census take_census(const std::filesystem::path& path, const std::vector<WrittenLabel>& labels) {
    Census census;
    for (const auto& label : labels) {
        if (label.text.empty()) user_error("{}:{}: the label is empty", path.string(), label.line);
        if (!census.first_line.emplace(label.text, label.line).second) continue;
        if (parse_integer(label.text)) continue;
        census.all_integers = false;
        const WrittenLabel*& kind = parse_number(label.text) ? census.fraction : census.word;
        if (kind == nullptr) kind = &label;
    }
    return census;
}

void check_all_numbers(const std::filesystem::path& path, const Census& census) {
    if (census.word == nullptr) return;
    if (census.fraction == nullptr) {
        user_error("{}:{}: label '{}' is not a number, as regression needs", path.string(), census.word->line,
                   census.word->text);
    }
    user_error(
        "{}:{}: label '{}' is not a number, but line {} has '{}', and fractional numbers mean regression; make all "
        "labels "
        "numbers, or for classes give them names that are not fractions",
        path.string(), census.word->line, census.word->text, census.fraction->line, census.fraction->text);
}

std::vector<std::string> sorted_names(const Census& census) {
    std::vector<std::string> names;
    for (const auto& [text, line] : census.first_line)
        names.push_back(census.all_integers ? canonical(text) : std::string(text));
    if (census.all_integers) {
        std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
            return parse_integer(a).value() < parse_integer(b).value();
        });
        names.erase(std::unique(names.begin(), names.end()), names.end());
    }
    return names;
}

void check_classes(const std::filesystem::path& path, const std::vector<std::string>& names, std::size_t rows) {
    // A single row is let pass: whoever divides it among ranks has the better message.
    if (names.size() == 1 && rows > 1) {
        user_error("{}: all {} rows have the label '{}'; there must be at least two classes to tell apart",
                   path.string(), rows, names[0]);
    }
    if (rows >= 20 && names.size() > rows / 2) {
        user_error(
            "{}: {} different labels in {} rows, for example '{}': the label column seems to hold text. The label is "
            "the last "
            "column, or the one that a header names 'label'",
            path.string(), names.size(), rows, names[0]);
    }
}

bool are_placeholders(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] != fmt::format("LABEL_{}", i)) return false;
    }
    return true;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view white = " \t\r\n\f\v";
    const auto begin = text.find_first_not_of(white);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(white) - begin + 1);
}

std::optional<double> parse_number(std::string_view text) {
    const auto number = parse_whole<double>(text);
    return number && std::isfinite(*number) ? number : std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    return parse_whole<std::int64_t>(text);
}

LabelSet infer_labels(const std::filesystem::path& path, const std::vector<WrittenLabel>& labels,
                      std::optional<bool> regression) {
    if (labels.empty()) user_error("{}: no labels", path.string());
    const Census census = take_census(path, labels);
    LabelSet result;
    result.regression = regression.value_or(census.fraction != nullptr);
    if (result.regression) {
        check_all_numbers(path, census);
        return result;
    }
    result.names = sorted_names(census);
    check_classes(path, result.names, labels.size());
    return result;
}

bool first_label_is_odd(const std::vector<WrittenLabel>& labels) {
    std::map<std::string_view, std::size_t> counts;
    for (const auto& label : labels) ++counts[label.text];
    if (counts.size() < 2) return false;
    const auto singles =
        std::count_if(counts.begin(), counts.end(), [](const auto& entry) { return entry.second == 1; });
    return singles == 1 && counts[labels.front().text] == 1;
}

LabelReader::LabelReader(LabelSet labels, const std::vector<std::string>& own_order,
                         const std::vector<std::string>& hub_order)
    : labels_(std::move(labels)) {
    const auto& names = labels_.names;
    for (std::size_t i = 0; i < names.size(); ++i) indexes_.emplace(names[i], i);
    for (std::size_t i = 0; i < names.size(); ++i) indexes_.emplace(canonical(names[i]), i);
    if (are_placeholders(names)) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            indexes_.emplace(i < own_order.size() ? own_order[i] : std::to_string(i), i);
        }
    }
    for (std::size_t k = 0; k < hub_order.size(); ++k) {
        const auto named = indexes_.find(hub_order[k]);
        if (named != indexes_.end()) indexes_.emplace(std::to_string(k), named->second);
    }
}

std::optional<double> LabelReader::find(std::string_view text) const {
    if (labels_.regression) return parse_number(text);
    auto found = indexes_.find(std::string(text));
    if (found == indexes_.end()) found = indexes_.find(canonical(text));
    if (found == indexes_.end()) {
        const auto number = parse_number(text);
        if (!number || *number != std::trunc(*number) || std::abs(*number) > 1e15) return std::nullopt;
        found = indexes_.find(std::to_string(static_cast<std::int64_t>(*number)));
        if (found == indexes_.end()) return std::nullopt;
    }
    return static_cast<double>(found->second);
}

void LabelReader::reject(std::string_view text, const std::string& place, std::string_view remedy) const {
    if (labels_.regression)
        user_error("{}: label '{}' is not a number, as this regression needs.{}", place, text, remedy);
    const auto& names = labels_.names;
    const std::vector<std::string> shown(
        names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), labels_in_message)));
    const std::string more =
        names.size() > shown.size() ? fmt::format(", and {} more", names.size() - shown.size()) : "";
    user_error("{}: label '{}' was never seen in training; the model's labels are {}{}.{}{}", place, text,
               fmt::join(shown, ", "), more, did_you_mean(text, names), remedy);
}

}  // namespace strata::data
