// Which columns of a table hold the texts and the label. The rules are in dataset.h.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/label_set.h"
#include "data/table.h"
#include "data/task.h"

namespace strata::data {

struct Columns {
    int text_a = 0;
    int text_b = -1;             // -1: none
    int label = -1;              // -1: none
    bool label_is_last = false;  // the row's last cell, whatever its number
    std::size_t first_row = 0;   // 1 after a header
    std::size_t at_least = 1;    // cells a row must have
    std::size_t at_most = 0;     // cells a row may have, less empty ones at its end; 0: any number
    bool header_is_sure = true;  // false: the first row may be a header after all (first_label_is_odd)
    std::string expected;        // for messages: "CoLA: label in column 2, text in column 4"
};

/// Throws UserError naming the file and the columns it has.
Columns glue_columns(const Table& table, const Task& task, Split split);

/// `known` reads training's labels; null where they are not known yet or not wanted.
Columns custom_columns(const Table& table, const ReadOptions& options, const LabelReader* known);

/// Names as they are compared: trimmed, lower case.
std::vector<std::string> normalised_names(const Table& table);

/// Index in `names` of the first of `wanted` that is there; -1 if none is.
int find_column(const std::vector<std::string>& names, const std::vector<std::string>& wanted);

}  // namespace strata::data
