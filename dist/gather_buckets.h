// How many parted buffers are gathered in few calls: their parts, laid end to end, are cut into buckets of equal bytes.
//
// A bucket may hold a piece of one large group or many small groups whole, so the number of buckets is that of bytes
// divided by the bucket's size, rounded up, however many groups there are. All ranks cut alike, because parts are of
// equal size everywhere.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist {

using GatherBucket = std::vector<PartedView>;

/// `rank_bytes`: what one rank brings to a bucket, rounded down to whole elements. Order is kept; empty parts vanish.
std::vector<GatherBucket> gather_buckets(std::span<const PartedView> parts, std::int64_t rank_bytes);

}  // namespace strata::dist
