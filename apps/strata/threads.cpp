#include "apps/strata/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace strata::app {

void use_threads(int ranks_on_host) {
    if (std::getenv("OMP_NUM_THREADS") != nullptr) return;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    const int visible = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
    // A launcher that binds ranks has already divided the cores; then the set is smaller than the host.
    const bool bound = visible * ranks_on_host <= static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    at::set_num_threads(std::max(1, bound ? visible : visible / ranks_on_host));
}

int thread_count() {
    return at::get_num_threads();
}

}  // namespace strata::app
