// Where LibTorch's CPU tensors lie: one range of addresses on large pages, given out and taken back without the system.
//
// A training step makes and drops the same few hundred tensors over and over. Through malloc that costs twice: glibc
// before 2.38 hardly ever gives an aligned block's memory to the next of the same size, so a process grows to one and a
// half times what its tensors take; and what goes back to the system comes again page by page, a fault each.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace strata::models {

/// Gives out blocks of a range of addresses: of the free ones that are large enough the smallest, of those the first.
/// Free neighbours become one. Memory is taken from the system when a block first reaches it, and stays. Any thread may
/// call, and free what another was given.
class TensorHeap {
  public:
    /// Reserves addresses, no memory. Every allocation fails where the system refuses even that (ulimit -v, say).
    explicit TensorHeap(std::size_t capacity);
    ~TensorHeap();
    TensorHeap(const TensorHeap&) = delete;
    TensorHeap& operator=(const TensorHeap&) = delete;

    /// Aligned to 64 bytes; null if no free range is large enough.
    void* allocate(std::size_t bytes);

    /// What allocate(bytes) gave.
    void release(void* block, std::size_t bytes);

    /// Bytes up to the end of the last block that ever was: what the process has paid for at most.
    std::size_t reach() const;

  private:
    void make_free(std::size_t offset, std::size_t size);
    void make_taken(std::size_t offset, std::size_t size);

    std::byte* base_ = nullptr;
    std::size_t capacity_;
    std::size_t reach_ = 0;
    mutable std::mutex mutex_;
    std::map<std::size_t, std::size_t> free_;                // offset, size
    std::set<std::pair<std::size_t, std::size_t>> by_size_;  // the same: size, offset
};

/// From now on CPU tensors of 16 KiB and more lie in a TensorHeap, which lives as long as the process; smaller ones
/// stay where they were. To be called once, before the first tensor.
void keep_tensors_in_heap();

}  // namespace strata::models
