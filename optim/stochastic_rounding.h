// Stochastic rounding of fp32 to bf16, for host and device alike: away from zero with the probability of the fraction
// that bf16 has no bits for, else towards it (S. Gupta et al., Deep Learning with Limited Numerical Precision, arXiv
// 1502.02551). The mean of many roundings is the value, so changes far below a bf16's last bit add up, and a parameter
// needs no fp32 master.
//
// Which way is a function of (seed, step of the run, the parameter's name, the element's index in that parameter) and
// of nothing else. The last two are an element's global index: no group, slice, span, tile or thread is in it, so the
// bits are the same under any grouping, on any number of ranks, and in a run that goes on. (Elements of one parameter
// that are 2^32 apart share theirs.)
#pragma once

#include "optim/compute_type.h"
#include "optim/host_device.h"
#include "optim/mix.h"

#include <cstdint>

namespace strata::optim {

/// A step's key, of all parameters. The constant keeps these numbers apart from others of the same seed.
inline std::uint64_t rounding_step_key(std::uint64_t seed, std::int64_t step) {
    return seeded_key(seed ^ 0x726F756E64696E67ULL, static_cast<std::uint64_t>(step));
}

/// A parameter's key at that step; `parameter` is its name_key.
STRATA_HOST_DEVICE std::uint64_t rounding_key(std::uint64_t step_key, std::uint64_t parameter) {
    return mix64(step_key ^ parameter);
}

/// A value that bf16 holds, as fp32: `random` is added below the last bit that is kept, and what lies there dropped.
/// Any of 2^16 numbers. What bf16 holds stays as it is. Past bf16's largest number, infinities and NaNs among it, there
/// is nothing to choose from, and the value is rounded to nearest.
STRATA_HOST_DEVICE float round_to_bf16(float value, std::uint16_t random) {
    const std::uint32_t bits = detail::bits_of(value);
    const bool has_neighbour = (bits & 0x7FFFFFFFU) <= 0x7F7F0000U;
    return has_neighbour ? detail::float_of((bits + random) & 0xFFFF0000U) : bf16_to_float(float_to_bf16(value));
}

/// The same for an element of the parameter with this key.
STRATA_HOST_DEVICE float round_to_bf16(float value, std::uint64_t key, std::uint32_t element) {
    return round_to_bf16(value, static_cast<std::uint16_t>(element_hash(key, element) >> 16U));
}

/// The same for many in place, on the CPU; the first is element `first`.
void round_to_bf16(float* values, std::int64_t elements, std::uint64_t key, std::int64_t first);

}  // namespace strata::optim
