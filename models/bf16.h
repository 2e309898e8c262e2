// bfloat16 as the kernels know it, who include no torch.
#pragma once

#include <cstdint>

namespace strata::models {

/// The upper half of a float. Kernels read and write it; they calculate in floats.
struct Bf16 {
    std::uint16_t bits;
};

}  // namespace strata::models
