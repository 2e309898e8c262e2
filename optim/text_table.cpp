#include "optim/text_table.h"

#include "core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace strata::optim {

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TextTable::add_row(std::vector<std::string> cells) {
    STRATA_CHECK(!cells.empty() && cells.size() <= columns_.size(), "{} cells for {} columns", cells.size(),
                 columns_.size());
    cells.resize(columns_.size());
    rows_.push_back(std::move(cells));
}

void TextTable::add_rule() {
    rows_.emplace_back();
}

std::string TextTable::text() const {
    std::vector<std::size_t> widths;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        widths.push_back(columns_[c].header.size());
        for (const auto& row : rows_) {
            if (!row.empty()) widths[c] = std::max(widths[c], row[c].size());
        }
    }
    std::string out;
    const auto end_line = [&out] {
        out.erase(out.find_last_not_of(' ') + 1);
        out += '\n';
    };
    const auto cell = [&](std::size_t c, std::string_view text) {
        const bool left = columns_[c].align == Align::left;
        out += fmt::format(fmt::runtime(left ? "{:<{}}  " : "{:>{}}  "), text, widths[c]);
    };
    const auto rule = [&] {
        for (const std::size_t width : widths) out += std::string(width, '-') + "  ";
        end_line();
    };
    for (std::size_t c = 0; c < columns_.size(); ++c) cell(c, columns_[c].header);
    end_line();
    rule();
    for (const auto& row : rows_) {
        if (row.empty()) {
            rule();
            continue;
        }
        for (std::size_t c = 0; c < columns_.size(); ++c) cell(c, row[c]);
        end_line();
    }
    return out;
}

std::string grouped_digits(std::int64_t value) {
    std::string digits = fmt::format("{}", value);
    const std::ptrdiff_t first = value < 0 ? 1 : 0;
    for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3) {
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    }
    return digits;
}

std::string byte_text(std::int64_t bytes) {
    constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) return fmt::format("{} B", bytes);
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < units.size()) {
        value /= 1024.0;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace strata::optim
