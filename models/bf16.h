// The 16-bit floats as the kernels know them, who include no torch.
#pragma once

#include <cstdint>

namespace strata::models {

/// The upper half of a float. Kernels read and write it; they calculate in floats.
struct Bf16 {
    std::uint16_t bits;
};

/// IEEE's half precision. Kernels of GPUs alone take it.
struct Fp16 {
    std::uint16_t bits;
};

}  // namespace strata::models
