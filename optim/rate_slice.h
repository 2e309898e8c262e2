// fastai's slice of rates: the first group learns at `low`, the last at `high`, those between at equal ratios.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace strata::optim {

/// slice(low, high); without low, slice(high): high / 10 for all groups but the last.
struct RateSlice {
    std::optional<double> low = std::nullopt;
    double high = 0.0;
};

/// Throws UserError unless 0 < low <= high, both finite. `where` opens the message: "Stage 'warm'".
void check_slice(const RateSlice& slice, std::string_view where);

/// The rates of `groups` groups, input side first: low (high / low)^(g / (groups - 1)), the last exactly high; one
/// group gets high. (fastcore, even_mults; fastai, Optimizer.set_hyper and Learner.slice rule.)
std::vector<double> slice_rates(const RateSlice& slice, std::size_t groups);

/// By repeated multiplication, not std::pow: the plan's hash must be equal on every platform, and pow's last bit is
/// not.
double power(double base, std::size_t exponent);

/// The `degree`-th root of a value of at least 1 that power() undoes: the largest double whose power is not above it.
double root(double value, std::size_t degree);

}  // namespace strata::optim
