// How many parted buffers travel in few calls: their parts, laid end to end, are cut into buckets of equal bytes.
//
// A bucket may hold a piece of one large group or many small groups whole, so the number of buckets is that of bytes
// divided by the bucket's size, rounded up, however many groups there are. All ranks cut alike, because parts are of
// equal size everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist {

/// Elements [begin, begin + count) of every rank's part.
struct BucketPiece {
    std::size_t part = 0;  ///< index of the buffer
    std::int64_t begin = 0;
    std::int64_t count = 0;
};
using Bucket = std::vector<BucketPiece>;

/// `counts`: elements of one rank's part of each buffer; `rank_elements`: what one rank brings to a bucket. Order is
/// kept; empty parts vanish.
std::vector<Bucket> make_buckets(std::span<const std::int64_t> counts, std::int64_t rank_elements);

/// The piece of the buffer that it was cut from.
PartedView view_of(const BucketPiece& piece, const PartedView& buffer);

}  // namespace strata::dist
