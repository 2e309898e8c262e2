// How the parsers of the three formats fill a Table. For table*.cpp only.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/table.h"

namespace strata::data {

/// What the cells are views of. Never moves once filled.
struct Table::Storage {
    std::optional<MappedFile> file;
    std::string decoded;  // the whole file, where it had to be decoded
    std::deque<std::string>
        cells;  // cells that are not a run of bytes of the file; a deque keeps its elements in place
};

class TableBuilder {
  public:
    TableBuilder(Table& table, std::string_view text) : table_(table), text_(text) {}

    std::string_view text() const { return text_; }
    /// "file:line"
    std::string place(std::size_t line) const;

    void add_cell(std::string_view cell) { table_.cells_.push_back(cell); }
    void add_owned_cell(std::string cell) { table_.cells_.push_back(keep(std::move(cell))); }
    void end_row(std::size_t line);
    bool has_keys() const { return !table_.keys_.empty(); }
    const std::vector<std::string_view>& keys() const { return table_.keys_; }
    void add_key(std::string key) { table_.keys_.push_back(keep(std::move(key))); }

  private:
    std::string_view keep(std::string text) { return table_.storage_->cells.emplace_back(std::move(text)); }

    Table& table_;
    std::string_view text_;
};

void parse_tsv(TableBuilder& builder);
void parse_csv(TableBuilder& builder);
void parse_jsonl(TableBuilder& builder);

/// Cuts the first line off `text`, without its LF or CRLF.
std::string_view take_line(std::string_view& text);

}  // namespace strata::data
