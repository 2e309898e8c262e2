// The type that a network computes in, and the 16-bit floats among them, for host and device alike.
//
// In bf16 or fp16 the model's parameters and gradients are 16-bit, and each rank keeps an fp32 master of its own
// slices, which the update works on (P. Micikevicius et al., Mixed Precision Training, arXiv 1710.03740), unless it
// rounds stochastically (stochastic_rounding.h). 16-bit floats are carried as their bits. Conversions here round to
// nearest, ties to even, as torch's do; a NaN stays a NaN.
#pragma once

#include "optim/host_device.h"

#include <array>
#include <cstdint>
#include <string_view>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace strata::optim {

enum class ComputeType : std::int32_t { fp32, bf16, fp16 };

inline constexpr std::array<std::string_view, 3> compute_type_names{"fp32", "bf16", "fp16"};
constexpr std::string_view name_of(ComputeType type) {
    return compute_type_names[static_cast<std::size_t>(type)];
}

/// Bytes of one element.
constexpr std::int64_t bytes_of(ComputeType type) {
    return type == ComputeType::fp32 ? 4 : 2;
}

namespace detail {

STRATA_HOST_DEVICE float float_of(std::uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
}

STRATA_HOST_DEVICE std::uint32_t bits_of(float value) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    return bits;
}

}  // namespace detail

STRATA_HOST_DEVICE float bf16_to_float(std::uint16_t bits) {
    return detail::float_of(static_cast<std::uint32_t>(bits) << 16U);
}

STRATA_HOST_DEVICE std::uint16_t float_to_bf16(float value) {
    const std::uint32_t bits = detail::bits_of(value);
    const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
    const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    return static_cast<std::uint16_t>(is_nan ? 0x7FC0U : rounded);
}

/// The exponent is put right by a product, exact for every finite value, subnormal ones among them.
STRATA_HOST_DEVICE float fp16_to_float(std::uint16_t bits) {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(bits));
#else
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
    const std::uint32_t rest = static_cast<std::uint32_t>(bits & 0x7FFFU) << 13U;
    const std::uint32_t finite = detail::bits_of(detail::float_of(rest) * 0x1p112F);
    const std::uint32_t not_finite = rest | 0x7F800000U;
    return detail::float_of(sign | ((bits & 0x7C00U) == 0x7C00U ? not_finite : finite));
#endif
}

STRATA_HOST_DEVICE std::uint16_t float_to_fp16(float value) {
#if defined(__CUDA_ARCH__)
    return __half_as_ushort(__float2half_rn(value));
#else
    const std::uint32_t bits = detail::bits_of(value);
    const std::uint32_t sign = (bits >> 16U) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    // Below 2^-14: adding a half puts what fp16 can hold at the end of the fraction, rounded by the addition.
    const std::uint32_t subnormal = detail::bits_of(detail::float_of(magnitude) + 0.5F) - 0x3F000000U;
    const std::uint32_t normal = (magnitude - 0x38000000U + 0xFFFU + ((magnitude >> 13U) & 1U)) >> 13U;
    const std::uint32_t large = magnitude > 0x7F800000U ? 0x7E00U : 0x7C00U;  // NaN, or infinity from 65520 on
    const std::uint32_t finite = magnitude < 0x38800000U ? subnormal : normal;
    return static_cast<std::uint16_t>(sign | (magnitude >= 0x477FF000U ? large : finite));
#endif
}

/// `type` is not fp32.
STRATA_HOST_DEVICE float widen(std::uint16_t bits, ComputeType type) {
    return type == ComputeType::bf16 ? bf16_to_float(bits) : fp16_to_float(bits);
}
STRATA_HOST_DEVICE std::uint16_t narrow(float value, ComputeType type) {
    return type == ComputeType::bf16 ? float_to_bf16(value) : float_to_fp16(value);
}

/// The same for many, on the CPU; `type` is not fp32.
void widen(const std::uint16_t* from, float* to, std::int64_t elements, ComputeType type);
void narrow(const float* from, std::uint16_t* to, std::int64_t elements, ComputeType type);
/// sums += from
void add_widened(const std::uint16_t* from, float* sums, std::int64_t elements, ComputeType type);

}  // namespace strata::optim
