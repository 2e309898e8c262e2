// Sizes in whole units.
#pragma once

namespace strata {

/// The least multiple of `unit` (> 0) that is not below `value` (>= 0).
template <typename Integer>
constexpr Integer round_up(Integer value, Integer unit) {
    return (value + unit - 1) / unit * unit;
}

}  // namespace strata
