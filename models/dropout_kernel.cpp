#include "models/dropout_kernel.h"

#include "models/dropout_simd.h"
#include "models/simd.h"

namespace strata::models {
namespace {

template <typename T>
STRATA_INLINE void drop(const DropoutRow& row, const T* x, T* out, std::int64_t n) {
    simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
        const simd::Floats factors = dropout_factors_of(row, static_cast<std::uint32_t>(i));
        simd::store_some(out + i, factors * simd::load_some(x + i, count), count);
    });
}

}  // namespace

STRATA_CLONES void dropout_factors_row(const DropoutRow& row, float* out, std::int64_t n) {
    simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
        simd::store_some(out + i, dropout_factors_of(row, static_cast<std::uint32_t>(i)), count);
    });
}

STRATA_CLONES void dropout_row(const DropoutRow& row, const float* x, float* out, std::int64_t n) {
    drop(row, x, out, n);
}

STRATA_CLONES void dropout_row(const DropoutRow& row, const Bf16* x, Bf16* out, std::int64_t n) {
    drop(row, x, out, n);
}

}  // namespace strata::models
