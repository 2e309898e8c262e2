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
    const auto first = round_up(reinterpret_cast<std::uintptr_t>(data), page);
    const auto last = (reinterpret_cast<std::uintptr_t>(data) + bytes) / page * page;
    if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

void forget_old_products() {
    // A step has about thirty, however many layers: room for this step's and the one before.
    for (const char* variable : {"LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"}) ::setenv(variable, "64", 0);
}

}  // namespace strata
