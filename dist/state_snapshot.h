// The own slices as they are now, kept while training changes them.
//
// One block of host memory, exactly as large as the rank's slices of weights and moments; it stays from one snapshot to
// the next, so that later ones copy at the memory's speed and find no new pages to ask for. Slices on a GPU are copied
// to memory that is pinned, and the host waits for them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "dist/state.h"

namespace strata::dist {

class StateSnapshot {
  public:
    /// `memory`: where the slices lie.
    explicit StateSnapshot(Memory memory = Memory::host) : memory_kind_(memory) {}

    /// Copies what the groups' pointers lead to, and leads them to the copy, which holds until the next take.
    void take(std::span<StateGroup> groups);

    /// Copies what the last take copied back to where it came from: after the copy was changed.
    void give_back();

    /// Bytes held.
    std::int64_t bytes() const { return capacity_ * static_cast<std::int64_t>(sizeof(float)); }

  private:
    struct Run {
        float* origin;
        float* copy;
        std::int64_t elements;
    };
    using Block = std::unique_ptr<float[], void (*)(float*)>;

    Block allocate(std::int64_t elements) const;
    void copy(float* to, const float* from, std::int64_t elements) const;
    void settle() const;

    Memory memory_kind_;
    Block memory_{nullptr, nullptr};
    std::vector<Run> runs_;
    std::int64_t capacity_ = 0;  // elements
};

}  // namespace strata::dist
