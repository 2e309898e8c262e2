#include <algorithm>

#include "core/error.h"
#include "data/columns.h"

namespace strata::data {
namespace {

std::string describe(const Task& task, const Columns& columns) {
    std::string text = fmt::format("{}: text in column {}", task.full_name, columns.text_a + 1);
    if (columns.text_b >= 0) text += fmt::format(" and {}", columns.text_b + 1);
    if (columns.label_is_last) return text + ", label in the last";
    if (columns.label >= 0) text += fmt::format(", label in {}", columns.label + 1);
    return text;
}

void count_cells(const Task& task, Columns& columns) {
    const int texts = std::max(columns.text_a, columns.text_b);
    // A last cell that is the label must come after the texts, or a row cut short would have a text read as its label.
    const int last = columns.label_is_last ? texts + 1 : std::max(texts, columns.label);
    columns.at_least = static_cast<std::size_t>(last) + 1;
    columns.expected = describe(task, columns);
}

Columns from_layout(const Task& task, const Layout& layout) {
    Columns columns;
    columns.text_a = layout.text_a;
    columns.text_b = layout.text_b;
    columns.label = layout.label;
    columns.label_is_last = layout.label_is_last;
    count_cells(task, columns);
    return columns;
}

/// Columns by the names of the header or keys; nothing if the texts' names are not there.
std::optional<Columns> by_name(const Table& table, const Task& task) {
    const auto names = normalised_names(table);
    Columns columns;
    columns.text_a = find_column(names, task.text_a_names);
    columns.text_b = find_column(names, task.text_b_names);
    if (columns.text_a < 0 || (!task.text_b_names.empty() && columns.text_b < 0)) return std::nullopt;
    columns.label = find_column(names, task.label_names);
    columns.first_row = table.format() == Format::jsonl ? 0 : 1;
    columns.label_is_last = table.format() == Format::tsv && task.labelled.label_is_last && columns.label >= 0 &&
                            static_cast<std::size_t>(columns.label) + 1 == names.size();
    count_cells(task, columns);
    return columns;
}

std::string_view label_cell(std::span<const std::string_view> row, const Columns& columns) {
    return trimmed(columns.label_is_last ? row.back() : row[static_cast<std::size_t>(columns.label)]);
}

/// TSV whose first row has none of the names: the processors' positions.
Columns by_position(const Table& table, const Task& task, Split split) {
    const LabelReader reader(task.labels);
    const Columns labelled = from_layout(task, task.labelled);
    const auto first = table.row(0);
    const bool first_is_labelled = first.size() >= labelled.at_least && reader.find(label_cell(first, labelled));

    if (split == Split::test && !first_is_labelled) {
        Columns columns = from_layout(task, task.unlabelled);
        // GLUE's test rows begin with a running number, their header with the word "index" or "id".
        columns.first_row = parse_integer(trimmed(first[0])) ? 0 : 1;
        return columns;
    }
    Columns columns = labelled;
    columns.first_row = task.header && !first_is_labelled ? 1 : 0;
    return columns;
}

}  // namespace

Columns glue_columns(const Table& table, const Task& task, Split split) {
    auto named = by_name(table, task);
    if (!named && table.format() == Format::tsv) return by_position(table, task, split);
    const auto place = table.place(0);
    if (!named) {
        user_error("{}: the columns are {}; {} needs '{}'{}", place, fmt::join(normalised_names(table), ", "),
                   task.full_name, fmt::join(task.text_a_names, "' or '"),
                   task.text_b_names.empty() ? "" : fmt::format(" and '{}'", fmt::join(task.text_b_names, "' or '")));
    }
    if (named->label < 0 && split != Split::test) {
        user_error("{}: no label column ('{}') among {}; without labels it can only be predicted", place,
                   fmt::join(task.label_names, "' or '"), fmt::join(normalised_names(table), ", "));
    }
    return *named;
}

}  // namespace strata::data
