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
    ComputeType type = ComputeType::fp32;  // as in UpdateSpan, like those that follow
    std::uint16_t* rounded = nullptr;
    const std::uint16_t* grad16 = nullptr;
};

/// The spans of an owner's slices of every group that is live, in group order. Neighbouring segments with the same
/// answer to decay make one span, but for LAMB, whose every tensor has its own trust ratio, and for stochastic
/// rounding, whose every tensor has its own key; in a deterministic plan LAMB's spans also end where a tile does, so
/// that their sums depend on no slice. `live` and `buffers` have one entry for each group; null pointers stay null.
std::vector<UpdateSpan> build_spans(const Plan& plan, int owner, const std::vector<bool>& live,
                                    std::span<const SliceBuffers> buffers);

/// For each UpdateSpan::tensor of any rank, which of the plan's tensors it is a part of. Frozen ones are included.
std::vector<std::int32_t> tensor_of_sums(const Plan& plan);

/// Gives every part of a tensor the sums of the whole: adds up [2s] and [2s + 1] of its parts, in their order, and
/// writes the totals to each. `sums` are lamb_moments_cpu's, added up over all ranks.
void complete_tensor_sums(std::span<const std::int32_t> tensors, std::span<double> sums);

}  // namespace strata::optim
