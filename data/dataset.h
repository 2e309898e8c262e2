// Labelled texts from a file: a GLUE task's own, or the user's.
//
// GLUE (`task_name` set). Columns are found by the names in the header or the JSON keys where they are known, else by
// the positions that the task's processor uses. A first row that cannot be data counts as a header.
//
// Custom (`task_name` empty). TSV and CSV have a header if
//   1. a cell of the first row is a name we know (label, sentence, sentence1, text, …: known_column_names()), or
//   2. there are 2 or 3 columns, every other row's last cell is a number and the first row's is not.
// ReadOptions::header overrides both. With a header: the label is `label` (of two columns, else the one that is
// not a text); the text is a known pair (sentence1,sentence2; text_a,text_b; …), else `sentence` or `text`, else the
// first one or two columns that are neither the label nor an id (idx, index, id, guid or no name). Without: text |
// text,label | text_a,text_b,label. An unlabelled file may only be a test file; two columns without header in a test
// file are text,label if at least half of the second column are known labels, else text_a,text_b.
//
// The labels of a test file are not read: predictions need none, and those it has may be others than the model's.
//
// Errors (UserError, naming file and line): those of table.h; too few or too many columns; no label column; a label
// never seen in training. Rows keep the file's order.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/label_set.h"
#include "data/table.h"
#include "data/task.h"

namespace strata::data {

struct Example {
    std::string text_a;
    std::optional<std::string> text_b;
    double label = 0;  // class index, or value for regression; NaN when there is none
};

struct Dataset {
    std::vector<Example> examples;
    bool has_labels = false;  // all examples, or none
    std::filesystem::path path;
    std::size_t skipped_rows = 0;  // short rows of QQP
    std::string columns;           // custom data, for people: "text 'review', label 'stars'; not read: 'id'"

    std::int64_t size() const { return static_cast<std::int64_t>(examples.size()); }
    bool has_pairs() const { return !examples.empty() && examples.front().text_b.has_value(); }
};

struct ReadOptions {
    std::string task_name;  // empty: custom data
    Split split = Split::train;
    TextEncoding encoding = TextEncoding::utf8;
    std::optional<bool> header;      // custom TSV and CSV; nothing: decided by the rules above
    std::optional<bool> regression;  // custom data; nothing: decided by the labels
    std::int64_t max_samples = -1;   // the first so many; -1: all
};

/// The labels a training file defines: the task's own, or those found in the whole file.
LabelSet labels_of(const std::filesystem::path& train_file, const ReadOptions& options);

/// Reads a file. `labels` are those of training (or of the model); null: the task's own, or, for custom data, those
/// found in this very file (train, validation) or none (test).
Dataset read_dataset(const std::filesystem::path& path, const ReadOptions& options, const LabelSet* labels = nullptr);

/// The column names that mark a header, for the documentation.
const std::vector<std::string>& known_column_names();

}  // namespace strata::data
