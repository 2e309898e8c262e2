#include "dist/state_snapshot.h"

#include <algorithm>

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
        memory_ = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(needed));
        capacity_ = needed;
    }
    float* next = memory_.get();
    for (StateGroup& group : groups) {
        for (const StateKind kind : state_kinds) {
            float*& own = pointer_of(group, kind);
            if (own == nullptr) continue;
            const std::int64_t elements = group.end - group.begin;
            std::copy_n(own, elements, next);
            own = next;
            next += elements;
        }
    }
}

}  // namespace strata::dist
