// Lengths of time in a run: epochs ("1e", "0.5e"), updates ("500u"), or a share of the run ("10%").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace strata::optim {

struct Length {
    enum class Unit { epochs, updates, percent };
    double value = 1.0;  // above 0; whole for updates
    Unit unit = Unit::epochs;
};

/// Throws UserError for anything but a number above 0 and one of the units e, u and %.
Length parse_length(std::string_view text);

/// As it is parsed: "1e".
std::string length_text(const Length& length);

/// In updates, not rounded. `steps_per_epoch` 0 is unknown: throws UserError for a length in epochs. `where` opens the
/// message.
double length_in_steps(const Length& length, std::int64_t steps_per_epoch, std::int64_t total_steps,
                       std::string_view where);

}  // namespace strata::optim
