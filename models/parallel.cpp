#include "models/parallel.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "compile this file with OpenMP, else every kernel is serial"
#endif

namespace strata::models {

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body) {
    at::parallel_for(begin, end, grain, body);
}

}  // namespace strata::models
