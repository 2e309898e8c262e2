#include "data/table.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/file.h"
#include "data/label_set.h"
#include "data/table_builder.h"
#include "data/utf8.h"

namespace strata::data {
namespace {

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
}

/// "file:line: byte b of the line" for an offset into the whole text.
std::string place_of_byte(const std::filesystem::path& path, std::string_view text, std::size_t offset) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
    const auto newline = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
    const std::size_t byte = newline == std::string_view::npos ? offset + 1 : offset - newline;
    return fmt::format("{}:{}: byte {} of the line", path.string(), line, byte);
}

void check_utf8(const std::filesystem::path& path, std::string_view text) {
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
        user_error("{}: is UTF-16; convert it with: iconv -f UTF-16 -t UTF-8", path.string());
    }
    const auto invalid = find_invalid_utf8(text);
    if (!invalid) return;
    user_error("{} is not valid UTF-8 (0x{:02x}); if the file is Latin-1, say --encoding latin1",
               place_of_byte(path, text, *invalid), static_cast<unsigned char>(text[*invalid]));
}

// A zero byte is no text: such a file is UTF-16 or binary, and would train without complaint on nonsense.
void check_no_nul(const std::filesystem::path& path, std::string_view text) {
    const auto nul = text.find('\0');
    if (nul == std::string_view::npos) return;
    user_error("{} is a zero byte; the file is binary or UTF-16, not text (to drop zero bytes: tr -d '\\000')",
               place_of_byte(path, text, nul));
}

}  // namespace

Format format_of(const std::filesystem::path& path) {
    const std::string ending = lower(path.extension().string());
    if (ending == ".tsv" || ending == ".txt") return Format::tsv;
    if (ending == ".csv") return Format::csv;
    if (ending == ".jsonl" || ending == ".json") return Format::jsonl;
    user_error(
        "{}: the name's ending says the format, and '{}' is none of .tsv, .txt (tabs), .csv, .jsonl, .json (one object "
        "a line)",
        path.string(), ending);
}

TextEncoding parse_encoding(std::string_view name) {
    const std::string wanted = lower(name);
    if (wanted == "utf-8" || wanted == "utf8") return TextEncoding::utf8;
    if (wanted == "latin1" || wanted == "latin-1" || wanted == "iso-8859-1") return TextEncoding::latin1;
    user_error("unknown encoding '{}'; the encodings are utf-8 and latin1", name);
}

std::string Table::place(std::size_t row) const {
    return fmt::format("{}:{}", path_.string(), lines_[row]);
}

Table Table::read(const std::filesystem::path& path, TextEncoding encoding) {
    // A missing file is a plainer error than an unknown ending, so it comes first.
    auto storage = std::make_shared<Storage>();
    storage->file.emplace(path);
    std::string_view text = storage->file->text();
    if (text.empty()) user_error("{}: the file is empty", path.string());

    Table table;
    table.path_ = path;
    table.format_ = format_of(path);
    table.storage_ = storage;
    if (encoding == TextEncoding::latin1) {
        storage->decoded = latin1_to_utf8(text);
        text = storage->decoded;
    } else {
        check_utf8(path, text);
    }
    check_no_nul(path, text);
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);

    TableBuilder builder(table, text);
    switch (table.format_) {
        case Format::tsv:
            parse_tsv(builder);
            break;
        case Format::csv:
            parse_csv(builder);
            break;
        case Format::jsonl:
            parse_jsonl(builder);
            break;
    }
    if (table.rows() == 0) user_error("{}: the file holds only blank lines", path.string());
    return table;
}

std::string TableBuilder::place(std::size_t line) const {
    return fmt::format("{}:{}", table_.path_.string(), line);
}

void TableBuilder::end_row(std::size_t line) {
    table_.begins_.push_back(table_.cells_.size());
    table_.lines_.push_back(line);
}

std::string_view take_line(std::string_view& text) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

void parse_tsv(TableBuilder& builder) {
    std::string_view text = builder.text();
    for (std::size_t number = 1; !text.empty(); ++number) {
        std::string_view line = take_line(text);
        if (trimmed(line).empty()) continue;
        for (auto tab = line.find('\t'); tab != std::string_view::npos; tab = line.find('\t')) {
            builder.add_cell(line.substr(0, tab));
            line.remove_prefix(tab + 1);
        }
        builder.add_cell(line);
        builder.end_row(number);
    }
}

}  // namespace strata::data
