#include "optim/length.h"

#include "core/error.h"

#include <charconv>
#include <cmath>

namespace strata::optim {

namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view fault) {
    user_error("'{}' is not a length: {}. Write epochs ('1e', '0.5e'), updates ('500u') or a share of the run ('10%').",
               text, fault);
}

}  // namespace

Length parse_length(std::string_view text) {
    if (text.empty()) refuse(text, "it is empty");
    Length length;
    switch (text.back()) {
        case 'e':
            length.unit = Length::Unit::epochs;
            break;
        case 'u':
            length.unit = Length::Unit::updates;
            break;
        case '%':
            length.unit = Length::Unit::percent;
            break;
        default:
            refuse(text, "it ends in no unit");
    }
    const char* const end = text.data() + text.size() - 1;
    const auto [at, error] = std::from_chars(text.data(), end, length.value);
    if (error != std::errc() || at != end) refuse(text, "what stands before the unit is not a number");
    if (!(length.value > 0.0 && std::isfinite(length.value))) refuse(text, "it must be above 0");
    if (length.unit == Length::Unit::updates && length.value != std::floor(length.value)) {
        refuse(text, "updates are whole");
    }
    if (length.unit == Length::Unit::percent && length.value > 100.0) refuse(text, "it is more than the whole run");
    return length;
}

std::string length_text(const Length& length) {
    const char* unit = length.unit == Length::Unit::epochs ? "e" : length.unit == Length::Unit::updates ? "u" : "%";
    return fmt::format("{}{}", length.value, unit);
}

double length_in_steps(const Length& length, std::int64_t steps_per_epoch, std::int64_t total_steps,
                       std::string_view where) {
    switch (length.unit) {
        case Length::Unit::epochs:
            if (steps_per_epoch < 1) {
                user_error(
                    "{} lasts {}, but without training data nobody knows how many updates an epoch has. Give the data "
                    "(train_file, or train_samples to plan without it), or write the length in updates ('500u') or as "
                    "a share ('10%').",
                    where, length_text(length));
            }
            return length.value * static_cast<double>(steps_per_epoch);
        case Length::Unit::updates:
            return length.value;
        case Length::Unit::percent:
            return length.value * static_cast<double>(total_steps) / 100.0;
    }
    STRATA_CHECK(false, "unknown unit {}", static_cast<int>(length.unit));
    return 0.0;
}

}  // namespace strata::optim
