// Threads for the room's own kernels: LibTorch's pool, so that there is one pool and one thread count in the process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

namespace strata::models {

/// Calls body(from, to) for shares of begin .. end, each of at least `grain` items. Inside another parallel region: one
/// call. It is a function of its own because at::parallel_for is serial in files compiled without OpenMP.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& body);

/// Calls body(row) for every row; a thread gets no fewer than are worth waking it for.
template <typename Body>
void parallel_rows(std::int64_t rows, std::int64_t width, const Body& body) {
    constexpr std::int64_t elements_per_thread = 32768;
    const std::int64_t grain = elements_per_thread / std::max<std::int64_t>(width, 1);
    parallel_for(0, rows, std::max<std::int64_t>(grain, 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) body(row);
    });
}

}  // namespace strata::models
