#include "optim/compute_type.h"
#include "optim/instruction_sets.h"

namespace strata::optim {

namespace {

// A loop for each type, so that each vectorises.
STRATA_CLONES void widen_bf16(const std::uint16_t* __restrict from, float* __restrict to, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) to[i] = bf16_to_float(from[i]);
}
STRATA_CLONES void widen_fp16(const std::uint16_t* __restrict from, float* __restrict to, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) to[i] = fp16_to_float(from[i]);
}
STRATA_CLONES void add_bf16(const std::uint16_t* __restrict from, float* __restrict sums, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) sums[i] += bf16_to_float(from[i]);
}
STRATA_CLONES void add_fp16(const std::uint16_t* __restrict from, float* __restrict sums, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) sums[i] += fp16_to_float(from[i]);
}
STRATA_CLONES void narrow_bf16(const float* __restrict from, std::uint16_t* __restrict to, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) to[i] = float_to_bf16(from[i]);
}
STRATA_CLONES void narrow_fp16(const float* __restrict from, std::uint16_t* __restrict to, std::int64_t elements) {
    for (std::int64_t i = 0; i < elements; ++i) to[i] = float_to_fp16(from[i]);
}

}  // namespace

void widen(const std::uint16_t* from, float* to, std::int64_t elements, ComputeType type) {
    type == ComputeType::bf16 ? widen_bf16(from, to, elements) : widen_fp16(from, to, elements);
}

void narrow(const float* from, std::uint16_t* to, std::int64_t elements, ComputeType type) {
    type == ComputeType::bf16 ? narrow_bf16(from, to, elements) : narrow_fp16(from, to, elements);
}

void add_widened(const std::uint16_t* from, float* sums, std::int64_t elements, ComputeType type) {
    type == ComputeType::bf16 ? add_bf16(from, sums, elements) : add_fp16(from, sums, elements);
}

}  // namespace strata::optim
