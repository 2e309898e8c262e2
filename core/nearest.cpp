#include "core/nearest.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <numeric>

#include "core/error.h"

namespace strata {
namespace {

char folded(char c) {
    return c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

/// Whether `name` is some of the words that underscores part in `longer`.
bool holds_words(std::string_view longer, std::string_view name) {
    const auto same = [](char a, char b) { return folded(a) == folded(b); };
    for (auto from = longer.begin(); from != longer.end(); ++from) {
        from = std::search(from, longer.end(), name.begin(), name.end(), same);
        if (from == longer.end()) return false;
        const auto to = from + static_cast<std::ptrdiff_t>(name.size());
        const bool opens = from == longer.begin() || folded(*(from - 1)) == '_';
        if (opens && (to == longer.end() || folded(*to) == '_')) return true;
    }
    return false;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = folded(a[i - 1]) == folded(b[j - 1]);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
            const bool swapped =
                i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]);
            if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& names,
                                       std::size_t count) {
    std::vector<std::pair<std::size_t, std::size_t>> ranked;
    ranked.reserve(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) ranked.emplace_back(edit_distance(name, names[i]), i);
    std::sort(ranked.begin(), ranked.end());
    ranked.resize(std::min(count, ranked.size()));
    std::vector<std::string> nearest;
    nearest.reserve(ranked.size());
    for (const auto& [distance, i] : ranked) nearest.push_back(names[i]);
    return nearest;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& names) {
    const auto nearest = nearest_names(name, names, 1);
    if (nearest.empty() || name.empty()) return "";
    if (edit_distance(name, nearest[0]) <= std::max<std::size_t>(2, name.size() / 3))
        return fmt::format(" Did you mean '{}'?", nearest[0]);
    const auto holding =
        std::find_if(names.begin(), names.end(), [&](const std::string& known) { return holds_words(known, name); });
    return holding == names.end() ? "" : fmt::format(" Did you mean '{}'?", *holding);
}

std::string listed(const std::vector<std::string>& names, std::string_view last) {
    if (names.size() < 2) return fmt::format("{}", fmt::join(names, ""));
    return fmt::format("{} {} {}", fmt::join(names.begin(), names.end() - 1, ", "), last, names.back());
}

std::size_t index_of_name(std::string_view what, std::string_view name, const std::vector<std::string>& names) {
    const auto same = [](char a, char b) { return a == b || (a == '-' && b == '_') || (a == '_' && b == '-'); };
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& known) {
        return std::equal(known.begin(), known.end(), name.begin(), name.end(), same);
    });
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    user_error("Unknown {} '{}'.{} It is one of {}.", what, name, did_you_mean(name, names), listed(names, "or"));
}

}  // namespace strata
