// A text file as rows of cells, before anybody asks what the columns mean.
//
// The file name's ending (any case) chooses the format:
//   .tsv .txt      raw tabs split cells; quotes are data (as GLUE's files are written and as Hugging Face reads them)
//   .csv           RFC 4180: quoted fields may hold commas, doubled quotes and line ends; a quote inside an unquoted
//                  field is data
//   .jsonl .json   one object a line; the first object's keys, in order, are the columns
// For all: LF or CRLF ends lines, blank lines (white space only) are skipped, a UTF-8 byte order mark is dropped.
//
// Errors (UserError, naming file and line): missing or empty file, unknown ending, invalid UTF-8 (with the byte's place
// in the line), a NUL byte, an unterminated quote (the line where it opened), broken JSON.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::data {

enum class Format { tsv, csv, jsonl };
enum class TextEncoding { utf8, latin1 };

/// By the ending of the file name. Throws UserError, listing the endings, for any other.
Format format_of(const std::filesystem::path& path);

/// "utf-8" ("utf8") or "latin1" ("latin-1", "iso-8859-1"), any case. Throws UserError for any other.
TextEncoding parse_encoding(std::string_view name);

/// Rows of cells with the line (from 1) each row starts at. Cells are views of memory that the table keeps alive.
class Table {
  public:
    /// Reads the whole file. See the top of this file for the errors.
    static Table read(const std::filesystem::path& path, TextEncoding encoding = TextEncoding::utf8);

    std::size_t rows() const { return lines_.size(); }
    std::size_t line(std::size_t row) const { return lines_[row]; }
    std::span<const std::string_view> row(std::size_t row) const {
        return std::span(cells_).subspan(begins_[row], begins_[row + 1] - begins_[row]);
    }

    Format format() const { return format_; }
    const std::filesystem::path& path() const { return path_; }
    /// "file:line", the start of a message about a row.
    std::string place(std::size_t row) const;

    /// The keys of a JSONL file; empty for TSV and CSV, whose header, if any, is still row 0.
    const std::vector<std::string_view>& keys() const { return keys_; }
    /// What a JSONL row holds for a key that is absent or null; compare with is_missing, not by content.
    static bool is_missing(std::string_view cell) { return cell.data() == nullptr; }

  private:
    friend class TableBuilder;
    struct Storage;

    std::filesystem::path path_;
    Format format_ = Format::tsv;
    std::shared_ptr<Storage> storage_;
    std::vector<std::string_view> keys_;
    std::vector<std::string_view> cells_;
    std::vector<std::size_t> begins_{0};
    std::vector<std::size_t> lines_;
};

}  // namespace strata::data
