#include "models/dropout_kernel.h"

#include "models/dropout_simd.h"
#include "models/simd.h"

namespace strata::models {

STRATA_CLONES void dropout_factors_row(const DropoutRow& row, float* out, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + simd::width <= n; i += simd::width) {
        simd::store(out + i, dropout_factors_of(row, static_cast<std::uint32_t>(i)));
    }
    for (; i < n; ++i) out[i] = dropout_factor_of(row, static_cast<std::uint32_t>(i));
}

STRATA_CLONES void dropout_row(const DropoutRow& row, const float* x, float* out, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + simd::width <= n; i += simd::width) {
        simd::store(out + i, dropout_factors_of(row, static_cast<std::uint32_t>(i)) * simd::load(x + i));
    }
    for (; i < n; ++i) out[i] = dropout_factor_of(row, static_cast<std::uint32_t>(i)) * x[i];
}

STRATA_CLONES void dropout_add_row(const DropoutRow& row, const float* x, const float* residual, float* out,
                                   std::int64_t n) {
    std::int64_t i = 0;
    for (; i + simd::width <= n; i += simd::width) {
        const simd::Floats dropped = dropout_factors_of(row, static_cast<std::uint32_t>(i)) * simd::load(x + i);
        simd::store(out + i, simd::load(residual + i) + dropped);
    }
    for (; i < n; ++i) out[i] = residual[i] + dropout_factor_of(row, static_cast<std::uint32_t>(i)) * x[i];
}

}  // namespace strata::models
