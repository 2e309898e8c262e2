#include "dist/state_snapshot.h"

#include <algorithm>

#include "optim/cuda_handles.h"

namespace strata::dist {
namespace {

std::int64_t own_elements(std::span<const StateGroup> groups) {
    std::int64_t elements = 0;
    for (const StateGroup& group : groups) {
        for (const StateKind kind : state_kinds) {
            if (pointer_of(group, kind) != nullptr) elements += group.end - group.begin;
        }
    }
    return elements;
}

}  // namespace

void StateSnapshot::take(std::span<StateGroup> groups) {
    const std::int64_t needed = own_elements(groups);
    if (needed > capacity_) {
        memory_.reset();  // never both
        capacity_ = 0;
        memory_ = allocate(needed);
        capacity_ = needed;
    }
    runs_.clear();
    float* next = memory_.get();
    for (StateGroup& group : groups) {
        for (const StateKind kind : state_kinds) {
            float*& own = pointer_of(group, kind);
            if (own == nullptr) continue;
            const std::int64_t elements = group.end - group.begin;
            runs_.push_back({own, next, elements});
            copy(next, own, elements);
            own = next;
            next += elements;
        }
    }
    settle();
}

void StateSnapshot::give_back() {
    for (const Run& run : runs_) copy(run.origin, run.copy, run.elements);
    settle();
}

#ifdef STRATA_WITH_CUDA

StateSnapshot::Block StateSnapshot::allocate(std::int64_t elements) const {
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    if (memory_kind_ == Memory::cuda)
        return {static_cast<float*>(optim::allocate_pinned(bytes)), [](float* block) { optim::free_pinned(block); }};
    return {new float[static_cast<std::size_t>(elements)], [](float* block) { delete[] block; }};
}

void StateSnapshot::copy(float* to, const float* from, std::int64_t elements) const {
    if (memory_kind_ == Memory::host) {
        std::copy_n(from, elements, to);
    } else {
        optim::copy_bytes(to, from, static_cast<std::size_t>(elements) * sizeof(float), nullptr);
    }
}

void StateSnapshot::settle() const {
    if (memory_kind_ == Memory::cuda) optim::wait_for(nullptr);
}

#else

StateSnapshot::Block StateSnapshot::allocate(std::int64_t elements) const {
    return {new float[static_cast<std::size_t>(elements)], [](float* block) { delete[] block; }};
}

void StateSnapshot::copy(float* to, const float* from, std::int64_t elements) const {
    std::copy_n(from, elements, to);
}

void StateSnapshot::settle() const {}

#endif

}  // namespace strata::dist
