// CSV after RFC 4180. Beyond it: LF alone ends a record, and a quote inside an unquoted field is data.
#include <algorithm>

#include "core/error.h"
#include "data/label_set.h"
#include "data/table_builder.h"

namespace strata::data {
namespace {

class CsvParser {
  public:
    explicit CsvParser(TableBuilder& builder) : builder_(builder), text_(builder.text()) {}

    void parse() {
        while (at_ < text_.size()) {
            if (skip_blank_line()) continue;
            const std::size_t first_line = line_;
            do {
                if (text_.substr(at_).starts_with('"')) {
                    quoted_field();
                } else {
                    plain_field();
                }
            } while (take_comma());
            builder_.end_row(first_line);
            take_line_end();
        }
    }

  private:
    bool skip_blank_line() {
        const auto end = std::min(text_.find('\n', at_), text_.size());
        if (!trimmed(text_.substr(at_, end - at_)).empty()) return false;
        at_ = std::min(end + 1, text_.size());
        ++line_;
        return true;
    }

    void plain_field() {
        const auto end = std::min(text_.find_first_of(",\n", at_), text_.size());
        std::string_view field = text_.substr(at_, end - at_);
        const bool last = end == text_.size() || text_[end] == '\n';
        if (last && field.ends_with('\r')) field.remove_suffix(1);
        builder_.add_cell(field);
        at_ = end;
    }

    void quoted_field() {
        const std::size_t opened = line_;
        const std::size_t begin = ++at_;
        std::string unescaped;
        std::size_t piece = begin;
        bool doubled = false;
        for (;;) {
            const auto quote = text_.find('"', at_);
            if (quote == std::string_view::npos) {
                user_error(
                    "{}: the quote that opens here is never closed; inside quotes, a quote is written twice (\"\")",
                    builder_.place(opened));
            }
            line_ += static_cast<std::size_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                         text_.begin() + static_cast<std::ptrdiff_t>(quote), '\n'));
            at_ = quote + 1;
            if (!text_.substr(at_).starts_with('"')) break;
            unescaped += text_.substr(piece, at_ - piece);
            piece = ++at_;
            doubled = true;
        }
        const std::string_view rest = text_.substr(piece, at_ - 1 - piece);
        if (doubled) {
            builder_.add_owned_cell(unescaped.append(rest));
        } else {
            builder_.add_cell(rest);
        }
        check_field_end(opened);
    }

    void check_field_end(std::size_t opened) {
        if (text_.substr(at_).starts_with("\r\n") || at_ + 1 == text_.size()) {
            if (text_[at_] == '\r') ++at_;
        }
        if (at_ == text_.size() || text_[at_] == ',' || text_[at_] == '\n') return;
        const std::string since = opened == line_ ? "" : fmt::format(" (it opened on line {})", opened);
        user_error("{}: text after a closing quote{}; inside quotes, a quote is written twice (\"\")",
                   builder_.place(line_), since);
    }

    bool take_comma() {
        if (at_ == text_.size() || text_[at_] != ',') return false;
        ++at_;
        return true;
    }

    void take_line_end() {
        if (at_ == text_.size()) return;
        ++at_;  // the fields stop only at a comma, a line end or the end of the text
        ++line_;
    }

    TableBuilder& builder_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t line_ = 1;
};

}  // namespace

void parse_csv(TableBuilder& builder) {
    CsvParser(builder).parse();
}

}  // namespace strata::data
