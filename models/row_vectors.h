// A row to a warp: which of its vectors each of the 32 threads has, and how a thread keeps them in registers.
#pragma once

#include <cstdint>

#include "models/vectors.h"
#include "optim/kernel_team.h"

namespace strata::models {

inline constexpr int row_block_threads = 8 * optim::warp_threads;  // eight rows to a block

/// Calls on(k, column) for a thread's vectors of a row; k counts them. With `held` > 0 there are at most so many, and k
/// is known to the compiler.
template <int vector, int held, typename On>
STRATA_HOST_DEVICE void for_own_vectors(std::int64_t width, int thread, const On& on) {
    constexpr std::int64_t step = std::int64_t{optim::warp_threads} * vector;
    if constexpr (held > 0) {
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
        for (int k = 0; k < held; ++k) {
            const std::int64_t column = k * step + std::int64_t{thread} * vector;
            if (column < width) on(k, column);
        }
    } else {
        int k = 0;
        for (std::int64_t column = std::int64_t{thread} * vector; column < width; column += step) on(k++, column);
    }
}

/// A thread's vectors of a row from phase to phase: in registers, or with `held` = 0 in memory again.
template <typename T, int vector, int held>
struct HeldRow {
    Vector<T, vector> at[held];

    STRATA_HOST_DEVICE void hold(int k, const Vector<T, vector>& value) { at[k] = value; }
    STRATA_HOST_DEVICE Vector<T, vector> get(int k, const T* /*address*/) const { return at[k]; }
};

template <typename T, int vector>
struct HeldRow<T, vector, 0> {
    STRATA_HOST_DEVICE void hold(int /*k*/, const Vector<T, vector>& /*value*/) {}
    STRATA_HOST_DEVICE Vector<T, vector> get(int /*k*/, const T* address) const { return load<vector>(address); }
};

/// Vectors of 16 bytes by which a thread holds 32 elements of a row, so that a row of 1024 fits.
template <typename T>
inline constexpr int held_vectors = 32 / full_vector<T>;

inline constexpr std::int64_t held_width = std::int64_t{32} * optim::warp_threads;

}  // namespace strata::models
