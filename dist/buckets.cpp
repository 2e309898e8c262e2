#include "dist/buckets.h"

#include <algorithm>

#include "core/error.h"

namespace strata::dist {

std::vector<Bucket> make_buckets(std::span<const std::int64_t> counts, std::int64_t rank_elements) {
    STRATA_CHECK(rank_elements > 0, "a bucket holds no element of each rank");
    std::vector<Bucket> buckets;
    std::int64_t room = 0;
    for (std::size_t part = 0; part < counts.size(); ++part) {
        for (std::int64_t begin = 0; begin < counts[part];) {
            if (room == 0) {
                buckets.emplace_back();
                room = rank_elements;
            }
            const std::int64_t count = std::min(counts[part] - begin, room);
            buckets.back().push_back({part, begin, count});
            begin += count;
            room -= count;
        }
    }
    return buckets;
}

PartedView view_of(const BucketPiece& piece, const PartedView& buffer) {
    PartedView view = buffer;
    view.data = static_cast<std::byte*>(buffer.data) + piece.begin * bytes_of(buffer.type);
    view.count = piece.count;
    return view;
}

}  // namespace strata::dist
