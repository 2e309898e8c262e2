// CUDA graphs of what LibTorch computes: our CudaGraph (optim/cuda_graph.h) captures streams, but knows nothing of the
// memory that LibTorch's allocator gives out meanwhile, which must then be the graph's own, nor of the generator that
// its operators draw from.
//
// They lie in a library of their own, libstrata_torch_graph.so beside the program, which is linked with LibTorch's CUDA
// half. The program is not, and loads both when it computes on a GPU (device.h).
#pragma once

#include "optim/replayed_work.h"

namespace strata::app {

/// What that library has under that name: sets what makes recordings, which share one pool of memory, since no two of
/// them run at once and nothing in it outlives a replay. They are of the stream that LibTorch computes in.
extern "C" using TorchGraphs = void(optim::ReplayedWork::MakeRecording & recordings);
inline constexpr const char* torch_graphs_name = "strata_torch_graphs";

}  // namespace strata::app
