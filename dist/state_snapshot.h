// The own slices as they are now, kept while training changes them.
//
// One block of memory, exactly as large as the rank's slices of weights and moments; it stays from one snapshot to the
// next, so that later ones copy at the memory's speed and find no new pages to ask for.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "dist/state.h"

namespace strata::dist {

class StateSnapshot {
  public:
    /// Copies what the groups' pointers lead to, and leads them to the copy, which holds until the next take.
    void take(std::span<StateGroup> groups);

    /// Bytes held.
    std::int64_t bytes() const { return capacity_ * static_cast<std::int64_t>(sizeof(float)); }

  private:
    std::unique_ptr<float[]> memory_;
    std::int64_t capacity_ = 0;  // elements
};

}  // namespace strata::dist
