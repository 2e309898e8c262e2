// Which parts of a rank's slices have moments that are all zero: rows of a word embedding that no batch has named yet,
// most of one, and what has just thawed. Where their gradient is zero too, AdamW does no more than decay the parameter.
// The update on the CPU runs at memory's speed, and the moments are half of what it reads: it leaves them alone there,
// and all of a piece that does not decay. Nothing changes by a bit, given that rounded parameters are those of their
// masters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "optim/fused_update.h"

namespace strata::optim {

class RestingPieces {
  public:
    static constexpr std::int64_t piece = 512;  ///< elements; the last one of a span has fewer

    /// Looks at the moments of spans that have both. Updates of these spans keep it true; whoever else writes to their
    /// moments makes a new one.
    explicit RestingPieces(std::span<const UpdateSpan> spans);

    /// Of a span's pieces, whether they rest: 1 or 0, for threads to change apart.
    std::span<std::uint8_t> of(std::size_t span) {
        return std::span(rests_).subspan(first_[span], first_[span + 1] - first_[span]);
    }
    std::size_t spans() const { return first_.size() - 1; }

  private:
    std::vector<std::uint8_t> rests_;
    std::vector<std::size_t> first_;  // of each span, and past the last one's
};

/// Whether an element is neither 0 nor -0.
bool any_nonzero(const float* values, std::int64_t elements);
bool any_nonzero(const std::uint16_t* floats, std::int64_t elements);

}  // namespace strata::optim
