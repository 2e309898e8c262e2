#include "dist/state_snapshot.h"

#include <algorithm>
#include <cstring>

#include "optim/cuda_handles.h"

namespace strata::dist {
namespace {

using optim::ComputeType;

constexpr std::int64_t piece = 512;  // elements that pass through the first cache

/// The bf16 numbers in the second half of the memory of `values`. Nothing is written over that is still to be read.
void widen_in_place(float* values, std::int64_t elements) {
    const auto* const from = reinterpret_cast<const std::byte*>(values) + 2 * elements;
    std::uint16_t bits[piece];
    for (std::int64_t begin = 0; begin < elements; begin += piece) {
        const std::int64_t size = std::min(piece, elements - begin);
        std::memcpy(bits, from + 2 * begin, static_cast<std::size_t>(2 * size));
        optim::widen(bits, values + begin, size, ComputeType::bf16);
    }
}

/// To the first half.
void narrow_in_place(float* values, std::int64_t elements) {
    auto* const to = reinterpret_cast<std::byte*>(values);
    std::uint16_t bits[piece];
    for (std::int64_t begin = 0; begin < elements; begin += piece) {
        const std::int64_t size = std::min(piece, elements - begin);
        optim::narrow(values + begin, bits, size, ComputeType::bf16);
        std::memcpy(to + 2 * begin, bits, static_cast<std::size_t>(2 * size));
    }
}

}  // namespace

void StateSnapshot::copy_out(std::span<StateGroup> groups, bool all) {
    runs_.clear();
    std::vector<float**> pointers;  // that are led to the runs
    std::int64_t needed = 0;
    for (StateGroup& group : groups) {
        for (const StateKind kind : state_kinds) {
            const bool is_bf16 = kind == StateKind::master && group.bf16_weights != nullptr;
            float** const own = is_bf16 ? &group.master : &pointer_of(group, kind);
            void* const origin = is_bf16 ? static_cast<void*>(group.bf16_weights) : *own;
            if (origin == nullptr || !(all || is_bf16 || memory_kind_ == Memory::cuda)) continue;
            const std::int64_t elements = group.end - group.begin;
            runs_.push_back({origin, is_bf16 ? ComputeType::bf16 : ComputeType::fp32, nullptr, elements});
            pointers.push_back(own);
            needed += elements;
        }
    }
    reserve(needed);  // where there is no room, the groups are as they were
    for (StateGroup& group : groups) group.bf16_weights = nullptr;
    float* next = memory_.get();
    for (std::size_t i = 0; i < runs_.size(); ++i) {
        Run& run = runs_[i];
        run.copy = *pointers[i] = next;
        next += run.elements;
        // At the end of its place, where it is not as wide.
        copy(reinterpret_cast<std::byte*>(next) - run.bytes(), run.origin, run.bytes());
    }
    settle();
    for (const Run& run : runs_) {
        if (run.type == ComputeType::bf16) widen_in_place(run.copy, run.elements);
    }
}

void StateSnapshot::reserve(std::int64_t elements) {
    if (elements <= capacity_) return;
    memory_.reset();  // never both
    capacity_ = 0;
    memory_ = allocate(elements);
    capacity_ = elements;
}

void StateSnapshot::give_back() {
    for (const Run& run : runs_) {
        if (run.type == ComputeType::bf16) narrow_in_place(run.copy, run.elements);
        copy(run.origin, run.copy, run.bytes());
    }
    settle();
    runs_.clear();
}

#ifdef STRATA_WITH_CUDA

StateSnapshot::Block StateSnapshot::allocate(std::int64_t elements) const {
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    if (memory_kind_ == Memory::cuda)
        return {static_cast<float*>(optim::allocate_pinned(bytes)), [](float* block) { optim::free_pinned(block); }};
    return {new float[static_cast<std::size_t>(elements)], [](float* block) { delete[] block; }};
}

void StateSnapshot::copy(void* to, const void* from, std::size_t bytes) const {
    if (memory_kind_ == Memory::host) {
        std::copy_n(static_cast<const std::byte*>(from), bytes, static_cast<std::byte*>(to));
    } else {
        optim::copy_bytes(to, from, bytes, nullptr);
    }
}

void StateSnapshot::settle() const {
    if (memory_kind_ == Memory::cuda) optim::wait_for(nullptr);
}

#else

StateSnapshot::Block StateSnapshot::allocate(std::int64_t elements) const {
    return {new float[static_cast<std::size_t>(elements)], [](float* block) { delete[] block; }};
}

void StateSnapshot::copy(void* to, const void* from, std::size_t bytes) const {
    std::copy_n(static_cast<const std::byte*>(from), bytes, static_cast<std::byte*>(to));
}

void StateSnapshot::settle() const {}

#endif

}  // namespace strata::dist
