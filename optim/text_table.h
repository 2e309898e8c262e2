// Columns of text that line up, for people: a header, a rule, rows; numbers to the right, words to the left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

enum class Align { left, right };

class TextTable {
  public:
    struct Column {
        std::string header;
        Align align;
    };

    explicit TextTable(std::vector<Column> columns);

    /// One cell for each column; missing ones at the end are empty.
    void add_row(std::vector<std::string> cells);
    void add_rule();

    /// Two spaces between columns, no spaces at the ends of lines, a newline after each.
    std::string text() const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;  // an empty row is a rule
};

/// 109482240 as "109,482,240".
std::string grouped_digits(std::int64_t value);

/// "417.6 MiB", "96 B".
std::string byte_text(std::int64_t bytes);

}  // namespace strata::optim
