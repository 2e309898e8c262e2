#include "core/heap.h"

#include <cstdlib>
#include <initializer_list>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace strata {

void keep_freed_memory() {
#ifdef __GLIBC__
    for (const char* variable :
         {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"}) {
        if (std::getenv(variable) != nullptr) return;
    }
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes; what is larger is no tensor of a step
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    ::mallopt(M_TOP_PAD, 16 << 20);
#endif
}

}  // namespace strata
