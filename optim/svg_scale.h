// One axis of a drawing: where values lie between its two ends, and which of them are worth a tick.
#pragma once

#include <vector>

namespace strata::optim::svg {

class Scale {
  public:
    /// `low` < `high`; a logarithmic scale needs `low` > 0.
    static Scale linear(double low, double high) { return {low, high, false}; }
    static Scale logarithmic(double low, double high) { return {low, high, true}; }

    bool is_logarithmic() const { return logarithmic_; }
    double low() const { return low_; }
    double high() const { return high_; }

    /// 0 at `low`, 1 at `high`. What is below a logarithmic scale, 0 above all, lies at its low end.
    double place(double value) const;

    /// Round values between the ends, about `count` where the scale is linear. Powers of ten where it is logarithmic,
    /// with multiples between them if it spans few, and never many more than eight.
    std::vector<double> ticks(int count) const;

  private:
    Scale(double low, double high, bool logarithmic);

    double low_;
    double high_;
    bool logarithmic_;
};

/// A range of values calls for a logarithmic scale when its ends differ by a factor of more than this: on a linear one
/// the small would lie on the ground.
inline constexpr double linear_span = 20;

/// 1, 2 or 5 times a power of ten: the step between about `count` ticks over `span`.
double tick_step(double span, double count);

}  // namespace strata::optim::svg
