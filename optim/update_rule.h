// The update rules, for one element, as inline functions for host and device alike: the machine without a GPU tests
// the very arithmetic that the GPU runs. fp32 throughout, in the order of operations of torch.optim's single-tensor
// code; hyperparameters are computed in double on the host and rounded once.
//
// Compile without contraction to fused multiply-adds (-ffp-contract=off, --fmad=false): then host, device, vector and
// scalar code all give the same bits.
#pragma once

#include "optim/host_device.h"
#include "optim/plan.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim {

/// One group's hyperparameters at one step; what the kernels read from their table. "Adams": adamw, adam and lamb.
struct GroupHyper {
    float lr = 0.0F;                     // the group's rate at this step
    float step_size = 0.0F;              // adamw, adam: lr / (1 - beta1^t)
    float decay_factor = 1.0F;           // adamw: 1 - lr x weight_decay
    float one_minus_beta1 = 0.0F;        // Adams
    float beta2 = 0.0F;                  // Adams
    float one_minus_beta2 = 0.0F;        // Adams
    float bias_correction1 = 1.0F;       // lamb: 1 - beta1^t
    float bias_correction2_sqrt = 1.0F;  // Adams: sqrt(1 - beta2^t)
    float epsilon = 0.0F;                // Adams
    float weight_decay = 0.0F;           // all but adamw
    float momentum = 0.0F;               // sgd
    std::int32_t nesterov = 0;           // sgd
    std::int32_t first_update = 0;       // sgd: the momentum buffer starts as the gradient
    std::uint64_t rounding = 0;          // where updates round stochastically: rounding_step_key
};

/// `step`: index of the update in the run, which sets the rate. `group_step`: how many updates the group will have had
/// with this one (1 for its first), which sets the bias correction: a group that starts anew has zero moments and step
/// 1. Where the stage's schedule cycles momentum, that takes the place of SGD's momentum and the others' beta1, but not
/// of a beta1 that the group has of its own, and not of SGD's momentum 0, which has no buffer.
GroupHyper make_hyper(const Plan& plan, std::size_t group, std::int64_t step, std::int64_t group_step);

/// One for each group; `group_steps` as above.
std::vector<GroupHyper> make_hypers(const Plan& plan, std::int64_t step, std::span<const std::int64_t> group_steps);

STRATA_HOST_DEVICE void update_moments(float g, float& m, float& v, const GroupHyper& h) {
    m = m + h.one_minus_beta1 * (g - m);  // torch's lerp
    v = v * h.beta2 + h.one_minus_beta2 * g * g;
}

/// Adam's step on p; m and v are the moments.
STRATA_HOST_DEVICE void adam_step(float& p, float g, float& m, float& v, const GroupHyper& h) {
    update_moments(g, m, v, h);
    const float denominator = sqrtf(v) / h.bias_correction2_sqrt + h.epsilon;
    p = p - h.step_size * m / denominator;
}

/// torch.optim.AdamW (Loshchilov and Hutter 2019): decay p by the rate, then Adam's step.
STRATA_HOST_DEVICE void adamw_update(float& p, float g, float& m, float& v, const GroupHyper& h, bool decays) {
    if (decays) p = p * h.decay_factor;
    adam_step(p, g, m, v, h);
}

/// torch.optim.Adam (Kingma and Ba 2015): weight decay is L2, added to the gradient.
STRATA_HOST_DEVICE void adam_update(float& p, float g, float& m, float& v, const GroupHyper& h, bool decays) {
    if (decays) g = g + h.weight_decay * p;
    adam_step(p, g, m, v, h);
}

/// LAMB's direction (You et al. 2020, algorithm 2, with bias correction), before the trust ratio. A function of the
/// parameter and its new moments alone, so that it is computed twice, once for its norm and once to be applied, and
/// stored nowhere.
STRATA_HOST_DEVICE float lamb_direction(float p, float m, float v, const GroupHyper& h, bool decays) {
    const float denominator = sqrtf(v) / h.bias_correction2_sqrt + h.epsilon;
    const float direction = m / h.bias_correction1 / denominator;
    return decays ? direction + h.weight_decay * p : direction;
}

/// |w| / |direction| of one tensor, from square sums over all of it; 1 where either is 0. A tensor that does not decay
/// (bias, LayerNorm) has no trust ratio, as in apex's FusedLAMB and timm's Lamb; the paper's algorithm gives it one.
STRATA_HOST_DEVICE float trust_ratio(double weight_square_sum, double direction_square_sum, bool decays) {
    if (!decays || !(weight_square_sum > 0.0) || !(direction_square_sum > 0.0)) return 1.0F;
    return static_cast<float>(sqrt(weight_square_sum) / sqrt(direction_square_sum));
}

/// p after LAMB's update; m and v are the new moments.
STRATA_HOST_DEVICE void lamb_apply(float& p, float m, float v, const GroupHyper& h, float ratio, bool decays) {
    p = p - h.lr * (lamb_direction(p, m, v, h, decays) * ratio);
}

/// torch.optim.SGD without dampening: weight decay is L2, added to the gradient. `b` is the momentum buffer, read and
/// written only when momentum is not 0.
STRATA_HOST_DEVICE void sgd_update(float& p, float g, float* b, const GroupHyper& h, bool decays) {
    if (decays) g = g + h.weight_decay * p;
    if (h.momentum != 0.0F) {
        *b = h.first_update != 0 ? g : *b * h.momentum + g;
        g = h.nesterov != 0 ? g + h.momentum * *b : *b;
    }
    p = p - h.lr * g;
}

}  // namespace strata::optim
