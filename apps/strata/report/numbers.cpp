#include "apps/strata/report/numbers.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/strata/training_log.h"

namespace strata::app::report {
namespace {

std::string in_digits(double value, int digits) {
    const double size = std::abs(value);
    if (size >= 1e9) return fmt::format("{:.{}g}G", value / 1e9, digits);
    if (size >= 1e6) return fmt::format("{:.{}g}M", value / 1e6, digits);
    if (size >= 1e4) return fmt::format("{:.{}g}k", value / 1e3, digits);
    if (size >= 1e3) return fmt::format("{:.0f}", value);
    if (size >= 1e-3 || size == 0.0) return fmt::format("{:.{}g}", value, digits);
    // "1.200e-05" as "1.2e-5".
    const std::string text = fmt::format("{:.{}e}", value, digits - 1);
    const auto e = text.find('e');
    const auto last = text.find_last_not_of("0", e - 1);
    return fmt::format("{}e{}", text.substr(0, text[last] == '.' ? last : last + 1), std::stoi(text.substr(e + 1)));
}

}  // namespace

std::string number_text(double value) {
    return std::isfinite(value) ? in_digits(value, 4) : "–";
}

std::string tick_text(double value) {
    // What rounding has left of a tick at 0.
    if (std::abs(value) < 1e-300) return "0";
    return in_digits(value, 4);
}

std::string duration_text(double seconds) {
    if (!std::isfinite(seconds)) return "–";
    if (seconds < 60) return fmt::format("{:.3g} s", seconds);
    return clock_text(seconds);
}

}  // namespace strata::app::report
