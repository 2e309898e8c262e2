#include "data/dataset.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "data/columns.h"

namespace strata::data {
namespace {

constexpr double no_label = std::numeric_limits<double>::quiet_NaN();

const Task* task_of(const ReadOptions& options) {
    return options.task_name.empty() ? nullptr : &task_named(options.task_name);
}

/// A table, its columns and the rows in which they are.
struct Source {
    Table table;
    Columns columns;
    const Task* task;  // null: custom data

    std::size_t count_cells(std::size_t row) const;
    bool is_short(std::size_t row) const { return table.row(row).size() < columns.at_least; }
    void check_row(std::size_t row) const;
    std::string_view cell(std::size_t row, int column) const {
        return table.row(row)[static_cast<std::size_t>(column)];
    }
    std::string text(std::size_t row, int column) const;
    /// Trimmed; missing where the row has none.
    std::string_view label(std::size_t row) const;
    /// Which columns are read and which are not: a wrong guess shows before anything is trained on it.
    std::string columns_text(bool labels_are_read) const;
};

std::string Source::columns_text(bool labels_are_read) const {
    const bool jsonl = table.format() == Format::jsonl;
    if (!jsonl && columns.first_row == 0) {
        return "no header; " + columns.expected +
               (columns.label >= 0 && !labels_are_read ? "; the label is not read" : "");
    }
    const auto names = jsonl ? std::span<const std::string_view>(table.keys()) : table.row(0);
    const auto quoted = [&](int column) {
        return fmt::format("'{}'", trimmed(names[static_cast<std::size_t>(column)]));
    };
    const int label = labels_are_read ? columns.label : -1;
    std::string text = (columns.text_b < 0 ? "text " : "texts ") + quoted(columns.text_a);
    if (columns.text_b >= 0) text += " and " + quoted(columns.text_b);
    if (label >= 0) text += ", label " + quoted(label);
    std::vector<std::string> unread;
    for (int i = 0; i < static_cast<int>(names.size()); ++i) {
        if (i != columns.text_a && i != columns.text_b && i != label) unread.push_back(quoted(i));
    }
    return unread.empty() ? text : fmt::format("{}; not read: {}", text, fmt::join(unread, ", "));
}

/// Cells in a row, less empty ones beyond the columns there should be (spreadsheets leave such).
std::size_t Source::count_cells(std::size_t row) const {
    const auto cells = table.row(row);
    std::size_t count = cells.size();
    while (columns.at_most > 0 && count > columns.at_most && trimmed(cells[count - 1]).empty()) --count;
    return count;
}

void Source::check_row(std::size_t row) const {
    const std::size_t count = count_cells(row);
    const char* plural = count == 1 ? "" : "s";
    if (count < columns.at_least) {
        user_error("{}: {} column{}, expected at least {} ({})", table.place(row), count, plural, columns.at_least,
                   columns.expected);
    }
    if (columns.at_most > 0 && count > columns.at_most) {
        user_error("{}: {} columns, expected {} ({}); is there a {} inside a text?", table.place(row), count,
                   columns.at_most, columns.expected, table.format() == Format::csv ? "comma outside quotes" : "tab");
    }
}

std::string Source::text(std::size_t row, int column) const {
    const auto value = cell(row, column);
    if (Table::is_missing(value)) {
        user_error("{}: the key '{}' is missing or holds no text", table.place(row),
                   table.keys()[static_cast<std::size_t>(column)]);
    }
    return std::string(value);
}

std::string_view Source::label(std::size_t row) const {
    const auto value = columns.label_is_last ? table.row(row).back() : cell(row, columns.label);
    return trimmed(value);
}

Source open_source(const std::filesystem::path& path, const ReadOptions& options, const LabelReader* known) {
    Table table = Table::read(path, options.encoding);
    const Task* task = task_of(options);
    Columns columns =
        task != nullptr ? glue_columns(table, *task, options.split) : custom_columns(table, options, known);
    if (columns.first_row >= table.rows()) user_error("{}: a header but no rows below it", path.string());
    return {std::move(table), std::move(columns), task};
}

/// A first row of words whose label nobody shares is as likely a header: asking beats training on one class too many.
void refuse_doubtful_header(const Source& source, const std::vector<WrittenLabel>& labels) {
    constexpr std::size_t enough_to_tell = 10;
    if (source.columns.header_is_sure || labels.size() < enough_to_tell || !first_label_is_odd(labels)) return;
    user_error(
        "{}: the label '{}' occurs in this row only. If the row is a header, name its label column 'label' (or say "
        "--header "
        "true); if it is data, say --header false",
        source.table.place(0), labels.front().text);
}

LabelSet labels_in(const Source& source, const ReadOptions& options) {
    std::vector<WrittenLabel> labels;
    labels.reserve(source.table.rows());
    for (std::size_t row = source.columns.first_row; row < source.table.rows(); ++row) {
        source.check_row(row);
        labels.push_back({source.label(row), source.table.line(row)});
    }
    refuse_doubtful_header(source, labels);
    return infer_labels(source.table.path(), labels, options.regression);
}

double read_label(const Source& source, std::size_t row, const LabelReader& reader) {
    const auto text = source.label(row);
    if (const auto label = reader.find(text)) return *label;
    if (text.empty()) user_error("{}: the label is empty", source.table.place(row));
    const bool may_be_header = row == 0 && !source.columns.header_is_sure;
    reader.reject(
        text, source.table.place(row),
        may_be_header ? " If this row is a header, name its label column 'label' (or say --header true)." : "");
}

/// Predictions need no labels, but one that the model does not know may be a header's name: predicting a header would
/// put every later line beside the wrong text.
void refuse_doubtful_header_of_test(const Source& source, const LabelReader& reader) {
    if (source.columns.header_is_sure || source.columns.label < 0) return;
    source.check_row(0);
    const auto text = source.label(0);
    if (text.empty() || reader.find(text)) return;
    reader.reject(text, source.table.place(0),
                  " If this row is a header, say --header true; if it is data, --header false.");
}

Dataset collect(const Source& source, const ReadOptions& options, const LabelReader* reader) {
    const Columns& columns = source.columns;
    const std::size_t rows = source.table.rows();
    Dataset dataset;
    dataset.path = source.table.path();
    const bool reads_labels = reader != nullptr && columns.label >= 0 && options.split != Split::test;
    if (reader != nullptr && options.split == Split::test) refuse_doubtful_header_of_test(source, *reader);
    dataset.has_labels = reads_labels;
    if (source.task == nullptr) dataset.columns = source.columns_text(dataset.has_labels);
    dataset.examples.reserve(rows - columns.first_row);
    for (std::size_t row = columns.first_row; row < rows; ++row) {
        if (options.max_samples >= 0 && dataset.size() >= options.max_samples) break;
        if (source.task != nullptr && source.task->skip_short_rows && source.is_short(row)) {
            ++dataset.skipped_rows;
            continue;
        }
        source.check_row(row);
        Example& example = dataset.examples.emplace_back();
        example.text_a = source.text(row, columns.text_a);
        if (columns.text_b >= 0) example.text_b = source.text(row, columns.text_b);
        example.label = reads_labels ? read_label(source, row, *reader) : no_label;
    }
    if (dataset.examples.empty() && options.max_samples != 0) {
        user_error("{}: no row can be used; all {} have too few columns ({})", source.table.path().string(),
                   dataset.skipped_rows, columns.expected);
    }
    return dataset;
}

}  // namespace

LabelSet labels_of(const std::filesystem::path& train_file, const ReadOptions& options) {
    if (const Task* task = task_of(options)) return task->labels;
    ReadOptions labelled = options;
    labelled.split = Split::train;
    return labels_in(open_source(train_file, labelled, nullptr), labelled);
}

Dataset read_dataset(const std::filesystem::path& path, const ReadOptions& options, const LabelSet* labels) {
    if (const Task* task = task_of(options)) {
        const LabelReader reader(labels != nullptr ? *labels : task->labels, task->labels.names, task->hub_order);
        return collect(open_source(path, options, &reader), options, &reader);
    }
    if (labels != nullptr) {
        const LabelReader reader(*labels);
        return collect(open_source(path, options, &reader), options, &reader);
    }
    const Source source = open_source(path, options, nullptr);
    if (options.split == Split::test) return collect(source, options, nullptr);
    const LabelReader reader(labels_in(source, options));
    return collect(source, options, &reader);
}

}  // namespace strata::data
