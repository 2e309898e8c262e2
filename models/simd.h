// Sixteen floats at a time, from floats or bfloat16 in memory, in GCC's portable vector types: one AVX-512 register,
// two AVX, four SSE.
//
// Only for kernel files that include no torch: they are compiled with fused multiply-add allowed
// (models/CMakeLists.txt).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "models/bf16.h"
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

STRATA_INLINE Floats load(const Bf16* from) {
    typedef std::uint16_t Halves __attribute__((vector_size(32)));
    Halves halves;
    std::memcpy(&halves, from, sizeof(halves));
    const Bits bits = __builtin_convertvector(halves, Bits) << 16;
    Floats x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

/// Rounds to nearest, ties to even, as c10::BFloat16 does. NaN stays.
STRATA_INLINE void store(Bf16* to, Floats x) {
    typedef std::uint16_t Halves __attribute__((vector_size(32)));
    Bits bits;
    std::memcpy(&bits, &x, sizeof(bits));
    const Bits rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
    const Bits kept = x == x ? rounded : Bits{} + 0x7FC0U;
    const Halves halves = __builtin_convertvector(kept, Halves);
    std::memcpy(to, &halves, sizeof(halves));
}

/// The first `count` (up to 16) of sixteen; the rest is zero.
template <typename T>
STRATA_INLINE Floats load_part(const T* from, std::int64_t count) {
    T lanes[width] = {};
    std::memcpy(lanes, from, static_cast<std::size_t>(count) * sizeof(T));
    return load(lanes);
}

template <typename T>
STRATA_INLINE void store_part(T* to, Floats x, std::int64_t count) {
    T lanes[width];
    store(lanes, x);
    std::memcpy(to, lanes, static_cast<std::size_t>(count) * sizeof(T));
}

/// Calls body(i, count) for sixteens of 0 .. n; in all but the last `count` is the constant 16, so that both are
/// compiled apart. The body must be inlined: [&](std::int64_t i, auto count) STRATA_INLINED { ... }.
template <typename Body>
STRATA_INLINE void for_each_sixteen(std::int64_t n, const Body& body) {
    std::int64_t i = 0;
    for (; i + width <= n; i += width) body(i, std::integral_constant<std::int64_t, width>{});
    if (i < n) body(i, n - i);
}

/// load or load_part, as the type of `count` says.
template <typename T>
STRATA_INLINE Floats load_some(const T* from, std::integral_constant<std::int64_t, width>) {
    return load(from);
}
template <typename T>
STRATA_INLINE Floats load_some(const T* from, std::int64_t count) {
    return load_part(from, count);
}
template <typename T>
STRATA_INLINE void store_some(T* to, Floats x, std::integral_constant<std::int64_t, width>) {
    store(to, x);
}
template <typename T>
STRATA_INLINE void store_some(T* to, Floats x, std::int64_t count) {
    store_part(to, x, count);
}

/// Swaps the blocks of `distance` lanes that lie off the diagonal of two rows: a step of the transpose below.
template <int distance>
STRATA_INLINE void exchange(Floats& a, Floats& b) {
    const Floats x = a, y = b;
    if constexpr (distance == 1) {
        a = __builtin_shufflevector(x, y, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        b = __builtin_shufflevector(x, y, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    } else if constexpr (distance == 2) {
        a = __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        b = __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    } else if constexpr (distance == 4) {
        a = __builtin_shufflevector(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        b = __builtin_shufflevector(x, y, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    } else if constexpr (distance == 8) {
        a = __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        b = __builtin_shufflevector(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
}

/// Sixteen rows become columns.
STRATA_INLINE void transpose(Floats (&rows)[width]) {
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) exchange<1>(rows[i], rows[i + 1]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) exchange<2>(rows[i / 2 * 4 + i % 2], rows[i / 2 * 4 + i % 2 + 2]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) exchange<4>(rows[i / 4 * 8 + i % 4], rows[i / 4 * 8 + i % 4 + 4]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) exchange<8>(rows[i], rows[i + 8]);
}

STRATA_INLINE Floats larger(Floats a, Floats b) {
    return a > b ? a : b;
}

/// The upper half of `lanes` lanes over the lower one; what lies above is of no use.
template <int lanes>
STRATA_INLINE Floats upper_half(Floats x) {
    if constexpr (lanes == 16) {
        return __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    } else if constexpr (lanes == 8) {
        return __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    } else if constexpr (lanes == 4) {
        return __builtin_shufflevector(x, x, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    } else {
        return __builtin_shufflevector(x, x, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    }
}

STRATA_INLINE float sum_of(Floats x) {
    x += upper_half<16>(x);
    x += upper_half<8>(x);
    x += upper_half<4>(x);
    x += upper_half<2>(x);
    return x[0];
}

STRATA_INLINE float largest_of(Floats x) {
    x = larger(x, upper_half<16>(x));
    x = larger(x, upper_half<8>(x));
    x = larger(x, upper_half<4>(x));
    x = larger(x, upper_half<2>(x));
    return x[0];
}

/// x in the first `count` lanes, `other` in those behind them.
STRATA_INLINE Floats first_lanes(Floats x, std::int64_t count, float other) {
    const Ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lanes < static_cast<std::int32_t>(count) ? x : Floats{} + other;
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
