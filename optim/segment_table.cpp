#include "optim/segment_table.h"

#include "core/error.h"
#include "optim/mix.h"

#include <algorithm>
#include <array>

namespace strata::optim {

namespace {

/// Where a group's spans come from.
struct Source {
    const Group& group;
    std::size_t index;
    Slice slice;
    bool may_merge;
    std::int64_t tile;  ///< no piece crosses a multiple of it; 0: pieces are whole tensors
};

/// What LAMB sums apart: tensors, cut where a tile of the group ends if sums may not depend on slices.
struct Piece {
    std::int64_t begin = 0;  ///< elements, from the start of the group's logical content
    std::int64_t end = 0;
};

std::vector<Piece> pieces_of(const Segment& segment, std::int64_t tile) {
    const std::int64_t end = segment.offset + segment.elements;
    if (tile == 0) return {{segment.offset, end}};
    std::vector<Piece> pieces;
    for (std::int64_t begin = segment.offset; begin < end;) {
        const std::int64_t next = std::min(end, (begin / tile + 1) * tile);
        pieces.push_back({begin, next});
        begin = next;
    }
    return pieces;
}

std::int64_t piece_tile(const Plan& plan) {
    return plan.deterministic && plan.optimizer.kind == OptimizerKind::lamb ? deterministic_tile : 0;
}

/// `next_sum` counts pieces, other slices' too.
void append_group(std::vector<UpdateSpan>& spans, const Source& source, const SliceBuffers& buffers,
                  std::int32_t& next_sum) {
    const auto advance = [](auto* pointer, std::int64_t by) { return pointer == nullptr ? nullptr : pointer + by; };
    bool merge = false;  // never with the group before
    for (const Segment& segment : source.group.segments) {
        for (const Piece& piece : pieces_of(segment, source.tile)) {
            const std::int32_t sum = next_sum++;
            const std::int64_t begin = std::max(piece.begin, source.slice.begin);
            const std::int64_t end = std::min(piece.end, source.slice.end);
            if (begin >= end) continue;
            if (merge && spans.back().decays == segment.decays) {
                spans.back().elements += end - begin;
                continue;
            }
            const std::int64_t at = begin - source.slice.begin;
            spans.push_back({advance(buffers.param, at), advance(buffers.grad, at), advance(buffers.exp_avg, at),
                             advance(buffers.exp_avg_sq, at), end - begin, static_cast<std::int32_t>(source.index),
                             segment.decays, sum, buffers.type, advance(buffers.rounded, at),
                             advance(buffers.grad16, at), name_key(segment.name), begin - segment.offset});
            merge = source.may_merge;
        }
    }
}

}  // namespace

std::vector<UpdateSpan> build_spans(const Plan& plan, int owner, const std::vector<bool>& live,
                                    std::span<const SliceBuffers> buffers) {
    STRATA_CHECK(live.size() == plan.groups.size() && buffers.size() == plan.groups.size(),
                 "{} live flags and {} buffers for {} groups", live.size(), buffers.size(), plan.groups.size());
    STRATA_CHECK(owner >= 0 && owner < plan.owners(), "owner {} of {}", owner, plan.owners());
    std::vector<UpdateSpan> spans;
    const bool may_merge = plan.optimizer.kind != OptimizerKind::lamb && !plan.rounding_seed;
    std::int32_t next_sum = 0;
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        // Where a group is frozen its slice is taken as empty: pieces are counted all the same.
        const Slice slice = live[g] ? plan.slice(g, owner) : Slice{};
        append_group(spans, {plan.groups[g], g, slice, may_merge, piece_tile(plan)}, buffers[g], next_sum);
    }
    return spans;
}

std::vector<std::int32_t> tensor_of_sums(const Plan& plan) {
    std::vector<std::int32_t> tensors;
    std::int32_t tensor = 0;
    for (const Group& group : plan.groups) {
        for (const Segment& segment : group.segments) {
            tensors.insert(tensors.end(), pieces_of(segment, piece_tile(plan)).size(), tensor++);
        }
    }
    return tensors;
}

void complete_tensor_sums(std::span<const std::int32_t> tensors, std::span<double> sums) {
    STRATA_CHECK(sums.size() == 2 * tensors.size(), "{} sums of {} pieces", sums.size(), tensors.size());
    for (std::size_t first = 0, end = 0; first < tensors.size(); first = end) {
        std::array<double, 2> total{};
        for (end = first; end < tensors.size() && tensors[end] == tensors[first]; ++end) {
            for (std::size_t k = 0; k < 2; ++k) total[k] += sums[2 * end + k];
        }
        for (std::size_t piece = first; piece < end; ++piece) std::copy_n(total.begin(), 2, &sums[2 * piece]);
    }
}

}  // namespace strata::optim
