#include "core/heap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <initializer_list>

#include "core/round_up.h"

namespace strata {

void prefer_large_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    const auto first = round_up(begin, page), last = (begin + bytes) / page * page;
    if (first < last) ::madvise(static_cast<std::byte*>(data) + (first - begin), last - first, MADV_HUGEPAGE);
#endif
}

void forget_old_products() {
    // A step has about thirty, however many layers: room for this step's and the one before.
    for (const char* variable : {"LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"}) ::setenv(variable, "64", 0);
}

}  // namespace strata
