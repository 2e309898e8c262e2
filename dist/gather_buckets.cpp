#include "dist/gather_buckets.h"

#include <algorithm>

#include "core/error.h"

namespace strata::dist {

std::vector<GatherBucket> gather_buckets(std::span<const PartedView> parts, std::int64_t rank_bytes) {
    std::vector<GatherBucket> buckets;
    std::int64_t room = 0;
    for (const PartedView& part : parts) {
        const std::int64_t element = bytes_of(part.type);
        STRATA_CHECK(rank_bytes >= element, "a bucket of {} bytes holds no element", rank_bytes);
        for (std::int64_t begin = 0; begin < part.count;) {
            if (room < element) {
                buckets.emplace_back();
                room = rank_bytes;
            }
            const std::int64_t count = std::min(part.count - begin, room / element);
            PartedView piece = part;
            piece.data = static_cast<std::byte*>(part.data) + begin * element;
            piece.count = count;
            buckets.back().push_back(piece);
            begin += count;
            room -= count * element;
        }
    }
    return buckets;
}

}  // namespace strata::dist
