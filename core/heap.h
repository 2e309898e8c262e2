// The process's memory, told what a training program is like: every step passes over all of it, and lengths hardly ever
// come back.
#pragma once

#include <cstddef>

namespace strata {

/// Asks for pages of 2 MiB under memory that every step passes over: fewer faults at the start, fewer misses in the
/// tables of pages afterwards. A wish: nothing happens where the system has none to give.
void prefer_large_pages(void* data, std::size_t bytes);

/// LibTorch and oneDNN each keep the code they made for the last 1024 shapes of matrix products in 16 bits, up to half
/// a megabyte each. Packed batches have another number of tokens at nearly every step: half a gigabyte of shapes that
/// do not come again. To be called before the first product; LRU_CACHE_CAPACITY and ONEDNN_PRIMITIVE_CACHE_CAPACITY win
/// where they are set.
void forget_old_products();

}  // namespace strata
