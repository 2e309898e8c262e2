// Sixteen floats at a time, in GCC's portable vector types: one AVX-512 register, two AVX, four SSE.
//
// Only for kernel files that include no torch: they are compiled with fused multiply-add allowed
// (models/CMakeLists.txt).
#pragma once

#include <cstdint>
#include <cstring>

#include "models/target_clones.h"

namespace strata::models::simd {

inline constexpr std::int64_t width = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef std::uint32_t Bits __attribute__((vector_size(64)));

STRATA_INLINE Floats load(const float* from) {
    Floats x;
    std::memcpy(&x, from, sizeof(x));
    return x;
}

STRATA_INLINE void store(float* to, Floats x) {
    std::memcpy(to, &x, sizeof(x));
}

STRATA_INLINE Floats larger(Floats a, Floats b) {
    return a > b ? a : b;
}

STRATA_INLINE float sum_of(Floats x) {
    float lanes[width];
    store(lanes, x);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

STRATA_INLINE float largest_of(Floats x) {
    float lanes[width];
    store(lanes, x);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    }
    return lanes[0];
}

/// e^x for x up to 88, 0 below -87: 2^n times Cephes' polynomial for the rest (S. Moshier, expf). Relative error 2e-7.
/// NaN stays.
STRATA_INLINE Floats exp(Floats x) {
    const float rounder = 12582912.0F;  // 1.5 * 2^23: adding and taking it away rounds to whole numbers
    const Floats n = (x * 1.44269504088896341F + rounder) - rounder;
    const Floats r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
    Floats p = r * 1.9875691500e-4F + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
    Floats power;
    std::memcpy(&power, &exponent, sizeof(power));
    return x < -87.0F ? Floats{} : p * power;
}

}  // namespace strata::models::simd
