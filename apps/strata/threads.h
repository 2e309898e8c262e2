// How many cores a rank may use.
#pragma once

namespace strata::app {

/// Gives LibTorch and OpenMP this rank's share of the cores it may run on: all of them divided by the ranks on its
/// host, at least one. OMP_NUM_THREADS wins where the user set it. Ranks that fight for cores make each other slow.
void use_threads(int ranks_on_host);

/// The threads in use.
int thread_count();

}  // namespace strata::app
