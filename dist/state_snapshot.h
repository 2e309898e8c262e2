// The own slices as they are now, kept while training changes them, or only brought to where HDF5 reads and writes.
//
// One block of host memory, exactly as large as the rank's slices of weights and moments in fp32; it stays from one
// snapshot to the next, so that later ones copy at the memory's speed and find no new pages to ask for. Slices on a GPU
// are copied to memory that is pinned, and the host waits for them. Weights that are bf16 are widened, which is exact.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "dist/state.h"
#include "optim/compute_type.h"

namespace strata::dist {

class StateSnapshot {
  public:
    /// `memory`: where the slices lie.
    explicit StateSnapshot(Memory memory = Memory::host) : memory_kind_(memory) {}

    /// Copies what the groups' pointers lead to, and leads them to the copy, which holds until the next take.
    void take(std::span<StateGroup> groups) { copy_out(groups, true); }

    /// The same of those alone that are not fp32 in host memory, which is all that HDF5 is given.
    void stage(std::span<StateGroup> groups) { copy_out(groups, false); }

    /// Copies what the last take or stage copied back to where it came from, once: after the copy was changed. bf16
    /// weights are rounded to nearest.
    void give_back();

    /// Bytes held.
    std::int64_t bytes() const { return capacity_ * static_cast<std::int64_t>(sizeof(float)); }

  private:
    struct Run {
        void* origin;
        optim::ComputeType type;
        float* copy;
        std::int64_t elements;

        std::size_t bytes() const { return static_cast<std::size_t>(elements * optim::bytes_of(type)); }
    };
    using Block = std::unique_ptr<float[], void (*)(float*)>;

    void copy_out(std::span<StateGroup> groups, bool all);
    void reserve(std::int64_t elements);
    Block allocate(std::int64_t elements) const;
    void copy(void* to, const void* from, std::size_t bytes) const;
    void settle() const;

    Memory memory_kind_;
    Block memory_{nullptr, nullptr};
    std::vector<Run> runs_;
    std::int64_t capacity_ = 0;  // elements
};

}  // namespace strata::dist
