// Sixteen dropout factors at a time, for kernel files.
#pragma once

#include "models/dropout_mix.h"
#include "models/simd.h"

namespace strata::models {

/// The factors of elements first .. first + 15.
STRATA_INLINE simd::Floats dropout_factors_of(const DropoutRow& row, std::uint32_t first) {
    const simd::Bits lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const simd::Bits hash = optim::element_hash(row.key, lanes + first);
    return hash >= row.threshold ? simd::Floats{} + row.scale : simd::Floats{};
}

}  // namespace strata::models
