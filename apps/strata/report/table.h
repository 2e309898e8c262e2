// HTML tables from cells.
#pragma once

#include <string>
#include <vector>

namespace strata::app::report {

class Table {
  public:
    struct Column {
        std::string header;
        bool number = false;  ///< to the right
    };

    Table(std::string caption, std::vector<Column> columns)
        : caption_(std::move(caption)), columns_(std::move(columns)) {}

    /// One cell of HTML for each column; the first heads the row.
    void add_row(const std::vector<std::string>& cells);
    bool empty() const { return rows_.empty(); }

    /// The table, in a frame that scrolls sideways where it is wider than the page. The caption is for who cannot see
    /// the heading above it.
    std::string html() const;

  private:
    std::string caption_;
    std::vector<Column> columns_;
    std::string rows_;
};

/// Something that unfolds.
std::string folded(const std::string& summary, const std::string& content);

/// A name with a stroke of its colour before it.
std::string with_ink(const std::string& name, const std::string& ink);

}  // namespace strata::app::report
