#include <algorithm>

#include "core/error.h"
#include "core/nearest.h"
#include "data/columns.h"

namespace strata::data {
namespace {

using Names = std::vector<std::string>;

constexpr const char* label_name = "label";

const std::vector<std::pair<std::string, std::string>>& known_pairs() {
    static const std::vector<std::pair<std::string, std::string>> pairs = {
        {"sentence1", "sentence2"}, {"text_a", "text_b"},       {"text1", "text2"},      {"text", "text_pair"},
        {"premise", "hypothesis"},  {"question1", "question2"}, {"question", "sentence"}};
    return pairs;
}

const Names& id_names() {
    static const Names names = {"idx", "index", "id", "guid"};
    return names;
}

bool contains(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_id(const std::string& name) {
    return name.empty() || contains(id_names(), name);
}

std::string_view last_cell(const Table& table, std::size_t row) {
    return trimmed(table.row(row).back());
}

bool is_known(const LabelReader* known, std::string_view text) {
    return known != nullptr && known->find(text).has_value();
}

/// How the first row is to be taken. `sure` is false where words are labels and nothing tells them from a header's.
struct Verdict {
    bool header = false;
    bool sure = true;
};

Verdict judge_first_row(const Table& table, const LabelReader* known) {
    const auto names = normalised_names(table);
    const bool has_number =
        std::any_of(names.begin(), names.end(), [](const auto& name) { return parse_number(name); });
    const bool has_name =
        std::any_of(names.begin(), names.end(), [](const auto& name) { return contains(known_column_names(), name); });
    if (has_number) return {false, true};  // nobody names a column 1
    if (has_name) return {true, true};
    if (names.size() == 1) return {false, true};
    if (names.size() > 3) return {true, true};  // without header it could not be read anyway
    if (is_known(known, last_cell(table, 0))) return {false, true};

    bool others_are_numbers = table.rows() > 1;
    bool recurs = false;
    for (std::size_t row = 1; row < table.rows(); ++row) {
        const auto label = last_cell(table, row);
        others_are_numbers = others_are_numbers && parse_number(label).has_value();
        recurs = recurs || label == last_cell(table, 0);
    }
    if (others_are_numbers) return {true, true};
    if (recurs) return {false, true};
    if (table.format() == Format::csv)
        return {true, true};  // CSV files have headers, as Hugging Face takes for granted
    return {false, false};
}

/// Whether the second of two unnamed columns holds labels rather than a second text.
bool second_column_is_label(const Table& table, std::size_t first_row, Split split, const LabelReader* known) {
    if (split != Split::test || known == nullptr) return true;
    std::size_t labels = 0;
    for (std::size_t row = first_row; row < table.rows(); ++row)
        labels += is_known(known, last_cell(table, row)) ? 1 : 0;
    return 2 * labels >= table.rows() - first_row;
}

void choose_texts(const Table& table, const Names& names, Columns& columns) {
    for (const auto& [a, b] : known_pairs()) {
        columns.text_a = find_column(names, {a});
        columns.text_b = find_column(names, {b});
        if (columns.text_a >= 0 && columns.text_b >= 0) return;
    }
    columns.text_b = -1;
    columns.text_a = find_column(names, {"sentence", "text"});
    if (columns.text_a >= 0) return;
    for (int i = 0; i < static_cast<int>(names.size()) && columns.text_b < 0; ++i) {
        if (i == columns.label || is_id(names[static_cast<std::size_t>(i)])) continue;
        (columns.text_a < 0 ? columns.text_a : columns.text_b) = i;
    }
    if (columns.text_a < 0) {
        user_error("{}: no text column among {}; name it 'sentence', or two of them 'sentence1' and 'sentence2'",
                   table.place(0), fmt::join(names, ", "));
    }
}

/// The label of a file with a header that has no `label`: of two columns it may be clear. -1 if it is not.
int unnamed_label(const Table& table, const Names& names, std::size_t first_row, Split split,
                  const LabelReader* known) {
    if (names.size() != 2 || is_id(names[0]) || is_id(names[1])) return -1;
    for (const auto& [a, b] : known_pairs()) {
        if (contains(names, a) && contains(names, b)) return -1;
    }
    const int text = find_column(names, {"sentence", "text"});
    if (text == 1) return split == Split::test ? -1 : 0;
    return second_column_is_label(table, first_row, split, known) ? 1 : -1;
}

Columns with_header(const Table& table, const ReadOptions& options, const LabelReader* known) {
    const auto names = normalised_names(table);
    Columns columns;
    columns.first_row = table.format() == Format::jsonl ? 0 : 1;
    columns.label = find_column(names, {label_name});
    if (columns.label < 0) columns.label = unnamed_label(table, names, columns.first_row, options.split, known);
    if (columns.label < 0 && options.split != Split::test) {
        user_error("{}: no column named 'label' among {}.{} Without labels it can only be predicted.", table.place(0),
                   fmt::join(names, ", "), did_you_mean(label_name, names));
    }
    choose_texts(table, names, columns);
    columns.at_least = static_cast<std::size_t>(std::max({columns.text_a, columns.text_b, columns.label})) + 1;
    columns.at_most = names.size();
    columns.expected = fmt::format("the header has {}", fmt::join(names, ", "));
    return columns;
}

Columns without_header(const Table& table, const ReadOptions& options, const LabelReader* known) {
    const std::size_t count = table.row(0).size();
    Columns columns;
    columns.at_least = columns.at_most = count;
    if (count == 1 && options.split == Split::test) {
        columns.expected = "one text a row, like the first";
    } else if (count == 2 && second_column_is_label(table, 0, options.split, known)) {
        columns.label = 1;
        columns.expected = "text and label, like the first row";
    } else if (count == 2) {
        columns.text_b = 1;
        columns.expected = "two texts, like the first row";
    } else if (count == 3) {
        columns.text_b = 1;
        columns.label = 2;
        columns.expected = "two texts and a label, like the first row";
    } else {
        user_error(
            "{}: {} column{} and no header; expected text and label, or two texts and a label{}, or a header that "
            "names 'label'",
            table.place(0), count, count == 1 ? "" : "s",
            table.format() == Format::csv ? ", separated by commas" : ", separated by tabs");
    }
    return columns;
}

}  // namespace

const std::vector<std::string>& known_column_names() {
    static const Names names = [] {
        Names all = {label_name, "labels", "sentence", "text"};
        for (const auto& [a, b] : known_pairs()) {
            if (!contains(all, a)) all.push_back(a);
            if (!contains(all, b)) all.push_back(b);
        }
        all.insert(all.end(), id_names().begin(), id_names().end());
        return all;
    }();
    return names;
}

Columns custom_columns(const Table& table, const ReadOptions& options, const LabelReader* known) {
    if (table.format() == Format::jsonl) return with_header(table, options, known);
    const Verdict verdict = options.header ? Verdict{*options.header, true} : judge_first_row(table, known);
    Columns columns = verdict.header ? with_header(table, options, known) : without_header(table, options, known);
    columns.header_is_sure = verdict.sure;
    return columns;
}

std::vector<std::string> normalised_names(const Table& table) {
    const auto cells = table.format() == Format::jsonl ? std::span<const std::string_view>(table.keys()) : table.row(0);
    std::vector<std::string> names;
    for (const auto cell : cells) {
        std::string& name = names.emplace_back(trimmed(cell));
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    }
    return names;
}

int find_column(const std::vector<std::string>& names, const std::vector<std::string>& wanted) {
    for (const auto& name : wanted) {
        const auto found = std::find(names.begin(), names.end(), name);
        if (found != names.end()) return static_cast<int>(found - names.begin());
    }
    return -1;
}

}  // namespace strata::data
