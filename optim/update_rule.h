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

/// One group's hyperparameters at one step; what the kernels read from their table.
struct GroupHyper {
    float lr = 0.0F;                     // the group's rate at this step
    float step_size = 0.0F;              // adamw: lr / (1 - beta1^t)
    float decay_factor = 1.0F;           // adamw: 1 - lr x weight_decay
    float one_minus_beta1 = 0.0F;        // adamw
    float beta2 = 0.0F;                  // adamw
    float one_minus_beta2 = 0.0F;        // adamw
    float bias_correction2_sqrt = 1.0F;  // adamw: sqrt(1 - beta2^t)
    float epsilon = 0.0F;                // adamw
    float weight_decay = 0.0F;           // sgd
    float momentum = 0.0F;               // sgd
    std::int32_t nesterov = 0;           // sgd
    std::int32_t first_update = 0;       // sgd: the momentum buffer starts as the gradient
};

/// `step`: index of the update in the run, which sets the rate. `group_step`: how many updates the group will have had
/// with this one (1 for its first), which sets the bias correction.
GroupHyper make_hyper(const Plan& plan, std::size_t group, std::int64_t step, std::int64_t group_step);

/// One for each group; `group_steps` as above.
std::vector<GroupHyper> make_hypers(const Plan& plan, std::int64_t step, std::span<const std::int64_t> group_steps);

/// torch.optim.AdamW (Loshchilov and Hutter 2019): decay p by the rate, then Adam's step. m and v are the moments.
STRATA_HOST_DEVICE void adamw_update(float& p, float g, float& m, float& v, const GroupHyper& h, bool decays) {
    if (decays) p = p * h.decay_factor;
    m = m + h.one_minus_beta1 * (g - m);  // torch's lerp
    v = v * h.beta2 + h.one_minus_beta2 * g * g;
    const float denominator = sqrtf(v) / h.bias_correction2_sqrt + h.epsilon;
    p = p - h.step_size * m / denominator;
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
