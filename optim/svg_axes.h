// Where the rates and steps of a plan lie on the paper of its drawing (plan_svg.cpp). Units: pixels, steps, learning
// rates.
#pragma once

#include "optim/plan_output.h"
#include "optim/svg_frame.h"
#include "optim/svg_scale.h"

#include <vector>

namespace strata::optim::svg {

class Axes {
  public:
    /// `ranges` as rate_ranges(plan) gives them. The rates' axis is logarithmic when their peaks span a factor of more
    /// than linear_span.
    Axes(const Plan& plan, const std::vector<std::vector<RateRange>>& ranges);

    bool logarithmic() const { return rates_.is_logarithmic(); }

    double x(double step) const;

    /// What is below a logarithmic axis, 0 above all, lies on its ground.
    double y(double rate) const;

    std::vector<double> rate_ticks() const { return rates_.ticks(5); }
    std::vector<double> step_ticks() const;

  private:
    Scale steps_;
    Scale rates_;
};

}  // namespace strata::optim::svg
