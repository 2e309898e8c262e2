#include "apps/strata/report/table.h"

#include <fmt/format.h>

#include "core/error.h"
#include "optim/svg_ink.h"

namespace strata::app::report {

using optim::svg::escaped;

void Table::add_row(const std::vector<std::string>& cells) {
    STRATA_CHECK(cells.size() == columns_.size(), "{}: {} cells in {} columns", caption_, cells.size(),
                 columns_.size());
    rows_ += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const char* kind = columns_[i].number ? " class=\"number\"" : "";
        rows_ += i == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", kind, cells[i])
                        : fmt::format("<td{}>{}</td>", kind, cells[i]);
    }
    rows_ += "</tr>\n";
}

std::string Table::html() const {
    std::string header;
    for (const Column& column : columns_) {
        header += column.header.empty() ? "<td></td>"
                                        : fmt::format("<th scope=\"col\"{}>{}</th>",
                                                      column.number ? " class=\"number\"" : "", escaped(column.header));
    }
    return fmt::format(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table>\n"
        "<caption class=\"unseen\">{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        escaped(caption_), escaped(caption_), header, rows_);
}

std::string folded(const std::string& summary, const std::string& content) {
    return fmt::format("<details><summary>{}</summary>\n{}</details>\n", escaped(summary), content);
}

std::string with_ink(const std::string& name, const std::string& ink) {
    return fmt::format("<span class=\"rule {}\">{}</span>", ink, escaped(name));
}

}  // namespace strata::app::report
