// Threads for the room's own kernels: LibTorch's pool, so that there is one pool and one thread count in the process.
#pragma once

#include <cstdint>
#include <functional>

namespace strata::models {

/// Calls body(from, to) for shares of begin .. end, each of at least `grain` items. Inside another parallel region: one
/// call. It is a function of its own because at::parallel_for is serial in files compiled without OpenMP.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace strata::models
