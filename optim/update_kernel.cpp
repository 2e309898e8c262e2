#include "optim/update_kernel.h"

#include "core/error.h"
#include "optim/tile_sums.h"

namespace strata::optim {

namespace {

template <typename BinOf>
std::vector<std::int64_t> bins_of(std::span<const UpdateSpan> spans, std::size_t count, BinOf bin_of) {
    const std::vector<std::int64_t> tiles = first_tiles(spans);
    std::vector<std::int64_t> first;
    for (std::size_t s = 0; s < spans.size(); ++s) {
        const auto bin = static_cast<std::size_t>(bin_of(spans[s]));
        STRATA_CHECK(bin < count && bin + 1 >= first.size(), "span {} is of bin {} of {}, out of order", s, bin, count);
        while (first.size() <= bin) first.push_back(tiles[s]);
    }
    first.resize(count + 1, tiles.back());
    return first;
}

}  // namespace

std::vector<std::int64_t> first_tiles(std::span<const UpdateSpan> spans) {
    std::vector<std::int64_t> first{0};
    for (const UpdateSpan& span : spans) {
        const std::int64_t end = span.elements == 0 ? 0 : span.elements + quad_phase(span);
        first.push_back(first.back() + (end + kernel_tile - 1) / kernel_tile);
    }
    return first;
}

std::vector<std::int64_t> group_bins(std::span<const UpdateSpan> spans, std::size_t groups) {
    return bins_of(spans, groups, [](const UpdateSpan& span) { return span.group; });
}

std::vector<std::int64_t> tensor_bins(std::span<const UpdateSpan> spans, std::size_t tensors) {
    return bins_of(spans, tensors, [](const UpdateSpan& span) { return span.tensor; });
}

}  // namespace strata::optim
