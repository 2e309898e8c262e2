// LibTorch's fused attention operators on the CPU, where it has none. What is linked with this has them by stand-ins.
#pragma once

#include <cstdint>

namespace strata::models::testing {

/// While one lives, packed_attention takes tensors on the CPU for those of a GPU and calls the operators. Not two.
class FusedAttentionOnTheCpu {
  public:
    FusedAttentionOnTheCpu();
    ~FusedAttentionOnTheCpu();
    FusedAttentionOnTheCpu(const FusedAttentionOnTheCpu&) = delete;
    FusedAttentionOnTheCpu& operator=(const FusedAttentionOnTheCpu&) = delete;

    /// Calls of either operator since it began.
    std::int64_t forward_calls() const;
    std::int64_t backward_calls() const;
};

}  // namespace strata::models::testing
