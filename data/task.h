// The nine GLUE tasks: columns, headers, labels, metrics. Names are transformers' (cola, sst2, …).
//
// Source: the processors of Hugging Face transformers (data/processors/glue.py) for columns and label order,
// run_glue.py for the column names of files exported from the hub and for its integer labels.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/label_set.h"

namespace strata::data {

enum class Split { train, validation, test };

/// Where a GLUE TSV keeps its columns, counted from 0. `label` -1: no label; `label_is_last`: the row's last cell,
/// whatever its number (MNLI's dev file has five annotators' labels before the gold one).
struct Layout {
    int text_a = 0;
    int text_b = -1;
    int label = -1;
    bool label_is_last = false;
};

struct Task {
    std::string name;                    // "sst2"
    std::string full_name;               // "SST-2"
    LabelSet labels;                     // in the processors' order
    std::vector<std::string> hub_order;  // what integers in files exported from the hub mean
    bool header = true;                  // of train and dev files; test files always have one
    Layout labelled;                     // train and dev
    Layout unlabelled;                   // test
    // Column names that identify the columns in a header or in JSON keys; the first that is there counts.
    std::vector<std::string> text_a_names, text_b_names, label_names;
    std::vector<std::string> metrics;  // what compute_metrics gives, less combined_score
    bool skip_short_rows = false;      // QQP: upstream silently drops them; here they are counted
};

const std::vector<Task>& all_tasks();
/// Throws UserError with the nearest name and the list.
const Task& task_named(std::string_view name);

/// One file of a split and what to append to its metrics' names ("" or, for MNLI mismatched, "_mm").
struct SplitFile {
    std::filesystem::path path;
    std::string metric_suffix;
};

/// The files to read for a split. A folder means GLUE's own file names in it (train.tsv, dev.tsv, dev_matched.tsv, …).
/// A file means itself and, for MNLI's dev_matched.tsv (validation), its neighbour dev_mismatched.tsv if there is one.
std::vector<SplitFile> split_files(const Task& task, const std::filesystem::path& file_or_folder, Split split);

}  // namespace strata::data
