#include "optim/segment_table.h"

#include "core/error.h"
#include "optim/shard.h"

#include <algorithm>

namespace strata::optim {

namespace {

void append_group(std::vector<UpdateSpan>& spans, const Group& group, std::size_t index, Slice slice,
                  const SliceBuffers& buffers) {
    const auto advance = [](auto* pointer, std::int64_t by) { return pointer == nullptr ? nullptr : pointer + by; };
    bool merge = false;  // never with the group before
    for (const Segment& segment : group.segments) {
        const std::int64_t begin = std::max(segment.offset, slice.begin);
        const std::int64_t end = std::min(segment.offset + segment.elements, slice.end);
        if (begin >= end) continue;
        if (merge && spans.back().decays == segment.decays) {
            spans.back().elements += end - begin;
            continue;
        }
        const std::int64_t at = begin - slice.begin;
        spans.push_back({advance(buffers.param, at), advance(buffers.grad, at), advance(buffers.exp_avg, at),
                         advance(buffers.exp_avg_sq, at), end - begin, static_cast<std::int32_t>(index),
                         segment.decays});
        merge = true;
    }
}

}  // namespace

std::vector<UpdateSpan> build_spans(const Plan& plan, int rank, const std::vector<bool>& live,
                                    std::span<const SliceBuffers> buffers) {
    STRATA_CHECK(live.size() == plan.groups.size() && buffers.size() == plan.groups.size(),
                 "{} live flags and {} buffers for {} groups", live.size(), buffers.size(), plan.groups.size());
    STRATA_CHECK(rank >= 0 && rank < plan.world_size, "rank {} of {}", rank, plan.world_size);
    std::vector<UpdateSpan> spans;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        if (!live[g]) continue;
        append_group(spans, plan.groups[g], g, slice_of(plan.groups[g].elements, rank, plan.world_size), buffers[g]);
    }
    return spans;
}

}  // namespace strata::optim
