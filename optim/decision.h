// What an update does, as its sums say: nothing where they are not finite, else how gradients are scaled. One function
// for host and device: a GPU decides in its own memory, where its update reads the decision.
#pragma once

#include "optim/fused_update.h"
#include "optim/host_device.h"
#include "optim/loss_scale.h"

#include <cmath>
#include <cstdint>

namespace strata::optim {

/// torch.nn.utils.clip_grad_norm_ adds this to the norm.
inline constexpr double clip_epsilon = 1e-6;

/// What the host knows beforehand.
struct DecisionTerms {
    double max_norm = 0;    ///< that the global norm is clipped to; 0: it is not
    double loss_scale = 1;  ///< that gradients hold
};

/// Of all groups' gradients, the scale taken out, from the square sum of each.
STRATA_HOST_DEVICE double gradient_norm(const double* square_sums, std::int64_t groups, double loss_scale) {
    double total = 0;
    for (std::int64_t group = 0; group < groups; ++group) total += square_sums[group];
    return sqrt(total) / loss_scale;
}

STRATA_HOST_DEVICE bool is_finite(double value) {
    return value - value == 0.0;
}

/// `sums`: each group's square sum over all ranks, then the loss. A value that is not finite makes its sum so (a
/// float's square cannot overflow a double), and all ranks have the same sums, so they decide alike.
STRATA_HOST_DEVICE UpdateControl decide(const double* sums, std::int64_t groups, const DecisionTerms& terms) {
    const double norm = gradient_norm(sums, groups, terms.loss_scale);
    const double clip = terms.max_norm > 0 ? terms.max_norm / (norm + clip_epsilon) : 1.0;
    return {static_cast<float>((clip < 1.0 ? clip : 1.0) / terms.loss_scale),
            is_finite(norm) && is_finite(sums[groups])};
}

/// The same by a scale that lies where it is decided (null: gradients hold none), and what follows for the scale.
STRATA_HOST_DEVICE UpdateControl decide(const double* sums, std::int64_t groups, double max_norm, LossScale* scale) {
    const double held = scale == nullptr ? 1.0 : static_cast<double>(scale->scale);
    const UpdateControl control = decide(sums, groups, DecisionTerms{max_norm, held});
    if (scale != nullptr) scale->step(control.finite);
    return control;
}

}  // namespace strata::optim
