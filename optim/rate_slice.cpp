#include "optim/rate_slice.h"

#include "core/error.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace strata::optim {

void check_slice(const RateSlice& slice, std::string_view where) {
    const auto positive = [&](std::string_view end, double value) {
        if (!(value > 0.0 && std::isfinite(value))) {
            user_error("{}: the slice's {} rate is {}; it must be above 0.", where, end, value);
        }
    };
    positive("high", slice.high);
    if (!slice.low) return;
    positive("low", *slice.low);
    if (*slice.low > slice.high) {
        user_error("{}: the slice runs from {} down to {}; the low rate, for the input side, comes first.", where,
                   *slice.low, slice.high);
    }
}

std::vector<double> slice_rates(const RateSlice& slice, std::size_t groups) {
    STRATA_CHECK(groups > 0, "a slice over no groups");
    std::vector<double> rates(groups, slice.high / 10.0);
    if (slice.low && groups > 1) {
        const double ratio = root(slice.high / *slice.low, groups - 1);
        double rate = *slice.low;
        for (double& each : rates) {
            each = rate;
            rate *= ratio;
        }
    }
    rates.back() = slice.high;
    return rates;
}

double power(double base, std::size_t exponent) {
    double result = 1.0;
    for (std::size_t i = 0; i < exponent; ++i) result *= base;
    return result;
}

double root(double value, std::size_t degree) {
    STRATA_CHECK(value >= 1.0 && degree > 0, "root {} of {}", degree, value);
    // Positive doubles are ordered as their bits are, and rounded multiplication is monotonic: a search over bits.
    auto low = std::bit_cast<std::uint64_t>(1.0);
    auto high = std::bit_cast<std::uint64_t>(value);
    while (low < high) {
        const std::uint64_t middle = low + (high - low + 1) / 2;
        if (power(std::bit_cast<double>(middle), degree) <= value) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return std::bit_cast<double>(low);
}

}  // namespace strata::optim
