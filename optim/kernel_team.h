// Kernels whose body is one function for host and device, phases and barriers included.
//
// A body takes a team: the threads that work on one piece of a grid together. It goes from phase to phase:
// team.each(f) calls f(thread) for every thread of the team, and none goes on before all are done. On the device a team
// is a block or a warp, each thread calls f for itself, and a barrier follows. On the host one loop does, in any order
// (tests/support/grid_walk.h), so whole grids are tested, under sanitizers too, where there is no GPU. What threads
// share lies in plain memory that the body is given; what a thread keeps from phase to phase is a Team::Own.
//
// A grid's body is a struct that is copied to the device with the launch:
//   static constexpr int team_threads, block_threads;       // 32, a warp, or all of a block; the second a multiple
//   struct Shared;                                          // trivial
//   std::int64_t pieces() const;                            // teams stride over them; 0: nothing is launched
//   template <typename Team> void run(const Team&, std::int64_t piece, Shared&) const;
#pragma once

#include "optim/host_device.h"

#include <cstdint>

#if defined(__CUDACC__)
#include "optim/cuda_check.h"

#include <algorithm>
#endif

namespace strata::optim {

inline constexpr int warp_threads = 32;

/// One step of a fold: after steps with half = threads / 2, ..., 2, 1 the first entry is the sum. Values of other types
/// have theirs beside them.
STRATA_HOST_DEVICE void fold_step(float* sums, int thread, int half) {
    if (thread < half) sums[thread] += sums[thread + half];
}

/// Adds up shared[0] ... shared[threads - 1] into the first, in a fixed order; threads is a power of two.
template <typename Team, typename Value>
STRATA_HOST_DEVICE void fold(const Team& team, Value* shared) {
    for (int half = team.threads() / 2; half > 0; half /= 2) {
        team.each([&](int thread) { fold_step(shared, thread, half); });
    }
}

#if defined(__CUDACC__)

/// This thread and its team: of 32, its warp, else its block.
template <int team_threads>
class DeviceTeam {
  public:
    template <typename Value>
    class Own {
      public:
        STRATA_HOST_DEVICE explicit Own(const DeviceTeam& /*team*/) {}
        STRATA_HOST_DEVICE Value& operator[](int /*thread*/) { return value_; }

      private:
        Value value_{};
    };

    STRATA_HOST_DEVICE explicit DeviceTeam(int thread) : thread_(thread) {}
    STRATA_HOST_DEVICE int threads() const { return team_threads; }

    template <typename Phase>
    STRATA_HOST_DEVICE void each(const Phase& phase) const {
        phase(thread_);
#if defined(__CUDA_ARCH__)
        if constexpr (team_threads == warp_threads) {
            __syncwarp();
        } else {
            __syncthreads();
        }
#endif
    }

  private:
    int thread_;
};

template <typename Body>
__global__ void __launch_bounds__(Body::block_threads) grid_kernel(const __grid_constant__ Body body) {
    constexpr int teams = Body::block_threads / Body::team_threads;
    static_assert(Body::team_threads == warp_threads || teams == 1);
    __shared__ typename Body::Shared shared[teams];
    const int thread = static_cast<int>(threadIdx.x);
    const int own = thread / Body::team_threads;
    const DeviceTeam<Body::team_threads> team(thread % Body::team_threads);
    const std::int64_t stride = std::int64_t{gridDim.x} * teams;
    for (std::int64_t piece = std::int64_t{blockIdx.x} * teams + own; piece < body.pieces(); piece += stride) {
        body.run(team, piece, shared[own]);
    }
}

/// One launch on `stream` of the current device. Throws SystemError when it is refused.
template <typename Body>
void launch_grid(const Body& body, CUstream_st* stream) {
    constexpr std::int64_t teams = Body::block_threads / Body::team_threads;
    const std::int64_t blocks = (body.pieces() + teams - 1) / teams;
    if (blocks == 0) return;
    // Teams stride over the pieces, so the limit is only there to keep the grid's size a legal one.
    grid_kernel<<<static_cast<unsigned>(std::min<std::int64_t>(blocks, 1 << 20)), Body::block_threads, 0, stream>>>(
        body);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

#endif

}  // namespace strata::optim
