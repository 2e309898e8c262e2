// A GPU that is not there: CUDA's runtime on host memory, in programs whose linker wraps its calls
// (strata_cuda_stand_in in CMake). It keeps streams as the queues they are and is as lazy as a GPU may be: a stream
// runs only when something waits for it, and then as far as that, drawing in other streams only where an event says so.
// So whatever order the program forgot to ask for is an order that it does not get, every time.
//
// A stream that is captured runs nothing: work becomes a node of a graph, events draw other streams in and back, and
// what CUDA forbids meanwhile is refused and spoils the capture (waits, queries, allocations, pageable memory, events
// from outside, streams that do not come back). A graph that is launched is one piece of work of its stream; its nodes
// run in an order that its edges allow, the last noted first.
//
// Memory is malloc's, filled with not-a-number. Kernels are found by their names: a test gives each a twin that runs on
// the host. The thread that runs streams is the one that waits; any thread may ask events.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <string>

namespace strata::testing_support {

using DeviceWork = std::function<void()>;

/// Puts work at the end of a stream, as a library would.
void enqueue(cudaStream_t stream, DeviceWork work);

/// What a launch of a kernel whose demangled name has `name_part` does. The maker copies the arguments it is given.
using KernelTwin = std::function<DeviceWork(void** arguments, dim3 grid, dim3 block)>;
void add_kernel_twin(const std::string& name_part, KernelTwin twin);

/// How often the host has stopped for the device, and how many kernels have been launched, since the program began.
std::int64_t host_waits();
std::int64_t kernel_launches();
std::int64_t graph_launches();

}  // namespace strata::testing_support
