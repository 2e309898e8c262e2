#include "optim/segment_table.h"

#include "core/error.h"
#include "optim/shard.h"

#include <algorithm>

namespace strata::optim {

namespace {

/// Where a group's spans come from.
struct Source {
    const Group& group;
    std::size_t index;
    std::size_t first_tensor;
    Slice slice;
    bool may_merge;
};

void append_group(std::vector<UpdateSpan>& spans, const Source& source, const SliceBuffers& buffers) {
    const auto advance = [](auto* pointer, std::int64_t by) { return pointer == nullptr ? nullptr : pointer + by; };
    bool merge = false;  // never with the group before
    std::size_t tensor = source.first_tensor;
    for (const Segment& segment : source.group.segments) {
        const auto this_tensor = static_cast<std::int32_t>(tensor++);
        const std::int64_t begin = std::max(segment.offset, source.slice.begin);
        const std::int64_t end = std::min(segment.offset + segment.elements, source.slice.end);
        if (begin >= end) continue;
        if (merge && spans.back().decays == segment.decays) {
            spans.back().elements += end - begin;
            continue;
        }
        const std::int64_t at = begin - source.slice.begin;
        spans.push_back({advance(buffers.param, at), advance(buffers.grad, at), advance(buffers.exp_avg, at),
                         advance(buffers.exp_avg_sq, at), end - begin, static_cast<std::int32_t>(source.index),
                         segment.decays, this_tensor});
        merge = source.may_merge;
    }
}

}  // namespace

std::vector<UpdateSpan> build_spans(const Plan& plan, int rank, const std::vector<bool>& live,
                                    std::span<const SliceBuffers> buffers) {
    STRATA_CHECK(live.size() == plan.groups.size() && buffers.size() == plan.groups.size(),
                 "{} live flags and {} buffers for {} groups", live.size(), buffers.size(), plan.groups.size());
    STRATA_CHECK(rank >= 0 && rank < plan.world_size, "rank {} of {}", rank, plan.world_size);
    std::vector<UpdateSpan> spans;
    std::size_t first_tensor = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const Group& group = plan.groups[g];
        const Slice slice = slice_of(group.elements, rank, plan.world_size);
        const bool may_merge = plan.optimizer.kind != OptimizerKind::lamb;
        if (live[g]) append_group(spans, {group, g, first_tensor, slice, may_merge}, buffers[g]);
        first_tensor += group.segments.size();
    }
    return spans;
}

std::size_t tensor_count(const Plan& plan) {
    std::size_t count = 0;
    for (const Group& group : plan.groups) count += group.segments.size();
    return count;
}

}  // namespace strata::optim
