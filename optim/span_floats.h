// A range of a span's gradients or parameters as floats, for passes on the CPU: where they lie, or, of 16 bits, widened
// into `room`, which has as many elements as the range.
#pragma once

#include "optim/fused_update.h"

#include <cstdint>

namespace strata::optim {

/// Null where the span has none.
inline const float* gradients_of(const UpdateSpan& span, std::int64_t begin, std::int64_t elements, float* room) {
    if (span.grad16 == nullptr) return span.grad == nullptr ? nullptr : span.grad + begin;
    widen(span.grad16 + begin, room, elements, span.type);
    return room;
}

inline float* parameters_of(const UpdateSpan& span, std::int64_t begin, std::int64_t elements, float* room) {
    if (span.param != nullptr) return span.param + begin;
    widen(span.rounded + begin, room, elements, span.type);
    return room;
}

}  // namespace strata::optim
