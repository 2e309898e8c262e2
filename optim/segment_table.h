// The segment table: the plan's segments cut at this rank's slice borders, as spans over real memory.
#pragma once

#include "optim/fused_update.h"
#include "optim/plan.h"

#include <cstddef>
#include <span>
#include <vector>

namespace strata::optim {

/// Where one rank's slice of one group lies. Every pointer is to the slice's first element, whether a buffer holds
/// the whole group (then it is base + slice.begin) or the slice alone.
struct SliceBuffers {
    float* param = nullptr;
    const float* grad = nullptr;
    float* exp_avg = nullptr;
    float* exp_avg_sq = nullptr;
};

/// The spans of `rank`'s slices of every group that is live, in group order. Neighbouring segments with the same
/// answer to decay make one span, but for LAMB, whose every tensor has its own trust ratio. `live` and `buffers` have
/// one entry for each group; null pointers stay null.
std::vector<UpdateSpan> build_spans(const Plan& plan, int rank, const std::vector<bool>& live,
                                    std::span<const SliceBuffers> buffers);

/// Parameter tensors in the plan, frozen ones included: one more than the largest UpdateSpan::tensor.
std::size_t tensor_count(const Plan& plan);

}  // namespace strata::optim
