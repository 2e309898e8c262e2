#include "models/tensor_heap.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <new>

#include "core/error.h"
#include "core/heap.h"
#include "core/round_up.h"

namespace strata::models {
namespace {

constexpr std::size_t alignment = 64;              // a cache line, and the widest vector
constexpr std::size_t large_page = 2 << 20;        // of x86-64, and of AArch64 with pages of 4 KiB
constexpr std::size_t smallest_tensor = 16 << 10;  // below, malloc wastes little

/// Lies in front of every block, since LibTorch gives back no more than a pointer.
struct alignas(alignment) Loan {
    TensorHeap* heap;   // null: LibTorch's own allocation
    std::size_t bytes;  // with this
};

/// LibTorch's allocator, with a heap in front of it.
class HeapAllocator final : public c10::Allocator {
  public:
    explicit HeapAllocator(std::size_t capacity) : heap_(capacity) {}

    c10::DataPtr allocate(std::size_t bytes) override {
        void* const block = bytes == 0 ? nullptr : lend(bytes);
        return {block, block, &give_back, c10::Device(c10::DeviceType::CPU)};
    }

    c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

    void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

  private:
    void* lend(std::size_t bytes) {
        Loan loan{&heap_, bytes + sizeof(Loan)};
        void* start = bytes < smallest_tensor ? nullptr : heap_.allocate(loan.bytes);
        if (start == nullptr) {
            loan.heap = nullptr;
            start = c10::alloc_cpu(loan.bytes);
        }
        void* const block = new (start) Loan(loan) + 1;
        c10::profiledCPUMemoryReporter().New(block, bytes);
        return block;
    }

    static void give_back(void* block) {
        if (block == nullptr) return;
        c10::profiledCPUMemoryReporter().Delete(block);
        Loan* const start = static_cast<Loan*>(block) - 1;
        const Loan loan = *start;
        loan.heap != nullptr ? loan.heap->release(start, loan.bytes) : c10::free_cpu(start);
    }

    TensorHeap heap_;
};

}  // namespace

TensorHeap::TensorHeap(std::size_t capacity) : capacity_(round_up(capacity, large_page)) {
    void* const range =
        ::mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) return;
    base_ = static_cast<std::byte*>(range);
    prefer_large_pages(base_, capacity_);
    make_free(0, capacity_);
}

TensorHeap::~TensorHeap() {
    if (base_ != nullptr) ::munmap(base_, capacity_);
}

void* TensorHeap::allocate(std::size_t bytes) {
    const std::size_t size = round_up(std::max<std::size_t>(bytes, 1), alignment);
    const std::lock_guard lock(mutex_);
    const auto found = by_size_.lower_bound({size, 0});
    if (found == by_size_.end()) return nullptr;
    const auto [free, offset] = *found;
    make_taken(offset, free);
    if (free > size) make_free(offset + size, free - size);
    reach_ = std::max(reach_, offset + size);
    return base_ + offset;
}

void TensorHeap::release(void* block, std::size_t bytes) {
    std::size_t offset = static_cast<std::size_t>(static_cast<std::byte*>(block) - base_);
    std::size_t size = round_up(std::max<std::size_t>(bytes, 1), alignment);
    const std::lock_guard lock(mutex_);
    const auto next = free_.lower_bound(offset);
    STRATA_CHECK(next == free_.end() || next->first >= offset + size, "a tensor's memory is freed twice");
    if (next != free_.begin()) {
        const auto [before, length] = *std::prev(next);
        STRATA_CHECK(before + length <= offset, "a tensor's memory is freed twice");
        if (before + length == offset) {
            make_taken(before, length);
            offset = before;
            size += length;
        }
    }
    if (next != free_.end() && next->first == offset + size) {
        size += next->second;
        make_taken(next->first, next->second);
    }
    make_free(offset, size);
}

std::size_t TensorHeap::reach() const {
    const std::lock_guard lock(mutex_);
    return reach_;
}

void TensorHeap::make_free(std::size_t offset, std::size_t size) {
    free_.emplace(offset, size);
    by_size_.emplace(size, offset);
}

void TensorHeap::make_taken(std::size_t offset, std::size_t size) {
    free_.erase(offset);
    by_size_.erase({size, offset});
}

void keep_tensors_in_heap() {
#if !defined(__SANITIZE_ADDRESS__)  // which watches malloc's blocks one by one
    const auto memory =
        static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    // Addresses cost nothing; twice the memory leaves room for holes. LibTorch keeps the allocator for good.
    c10::SetCPUAllocator(new HeapAllocator(2 * memory));
#endif
}

}  // namespace strata::models
