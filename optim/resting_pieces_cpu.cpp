#include "optim/resting_pieces.h"

#include <algorithm>

#include "optim/instruction_sets.h"

namespace strata::optim {

namespace {

bool rests(const UpdateSpan& span, std::int64_t begin) {
    if (span.exp_avg == nullptr || span.exp_avg_sq == nullptr) return false;
    const std::int64_t elements = std::min(span.elements - begin, RestingPieces::piece);
    return !any_nonzero(span.exp_avg + begin, elements) && !any_nonzero(span.exp_avg_sq + begin, elements);
}

}  // namespace

STRATA_CLONES bool any_nonzero(const float* values, std::int64_t elements) {
    std::uint32_t bits = 0;
    for (std::int64_t i = 0; i < elements; ++i) bits |= detail::bits_of(values[i]);
    return (bits & 0x7FFFFFFFU) != 0;
}

STRATA_CLONES bool any_nonzero(const std::uint16_t* floats, std::int64_t elements) {
    std::uint16_t bits = 0;
    for (std::int64_t i = 0; i < elements; ++i) bits |= floats[i];
    return (bits & 0x7FFFU) != 0;
}

RestingPieces::RestingPieces(std::span<const UpdateSpan> spans) : first_{0} {
    for (const UpdateSpan& span : spans)
        first_.push_back(first_.back() + static_cast<std::size_t>((span.elements + piece - 1) / piece));
    rests_.resize(first_.back());
    for (std::size_t s = 0; s < spans.size(); ++s) {
        const std::span<std::uint8_t> own = of(s);
        const auto count = static_cast<std::int64_t>(own.size());
#pragma omp parallel for schedule(static) if (count > 1)
        for (std::int64_t p = 0; p < count; ++p) own[static_cast<std::size_t>(p)] = rests(spans[s], p * piece) ? 1 : 0;
    }
}

}  // namespace strata::optim
