// Dynamic loss scaling for fp16, whose smallest gradients would vanish: the loss is multiplied by a scale before the
// backward pass and the update divides by it. A step whose gradients are not finite is skipped and lowers the scale.
//
// Figures and rule are torch.amp.GradScaler's (torch/amp/grad_scaler.py: init_scale 2^16, growth_factor 2,
// backoff_factor 0.5, growth_interval 2000; aten's _amp_update_scale_), as host and device code: a GPU keeps it in its
// own memory.
#pragma once

#include "optim/host_device.h"

#include <cstdint>

namespace strata::optim {

struct LossScale {
    static constexpr float growth = 2.0F;
    static constexpr float backoff = 0.5F;
    static constexpr std::int64_t growth_interval = 2000;  // good steps in a row

    float scale = 65536.0F;
    std::int64_t good_steps = 0;  // since the scale changed

    /// After every step. A scale that would not be finite is not taken.
    STRATA_HOST_DEVICE void step(bool finite) {
        if (!finite) {
            scale *= backoff;
            good_steps = 0;
            return;
        }
        if (++good_steps < growth_interval) return;
        good_steps = 0;
        if (scale * growth <= 3.4e38F) scale *= growth;
    }
};

}  // namespace strata::optim
