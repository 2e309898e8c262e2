#include "tests/support/cuda_stand_in.h"

#include <cxxabi.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace strata::testing_support {
namespace {

struct Stream;

using Nodes = std::set<std::size_t>;

/// What a capture has noted: work, and which nodes of the same graph it comes after.
struct Graph {
    struct Node {
        DeviceWork work;
        Nodes after;
    };
    std::vector<Node> nodes;
};

struct Capture {
    Graph graph;
    Stream* origin = nullptr;
    std::thread::id thread;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
    bool over = false;
    bool invalid = false;
};

struct Point {
    Stream* stream = nullptr;
    std::int64_t position = 0;                   // tasks that come before it
    std::shared_ptr<Capture> capture = nullptr;  // that it was recorded in, and the nodes before it
    Nodes nodes = {};
};

struct Task {
    DeviceWork work;  // or
    Point after;
};

struct Stream {
    std::deque<Task> tasks;
    std::int64_t added = 0;
    std::int64_t done = 0;
    std::shared_ptr<Capture> capture = nullptr;  // that it takes part in, and the nodes that its next one comes after
    Nodes front = {};
};

struct Device {
    std::recursive_mutex mutex;
    Stream default_stream;
    std::vector<std::unique_ptr<Stream>> streams;
    std::map<const void*, std::string> kernel_names;
    std::map<const void*, std::size_t> memory;  // what cudaMalloc gave
    std::map<const void*, std::size_t> pinned;  // what cudaMallocHost gave
    std::vector<std::pair<std::string, KernelTwin>> twins;
    std::atomic<std::int64_t> waits = 0;
    std::atomic<std::int64_t> launches = 0;
    std::atomic<std::int64_t> graphs = 0;
    std::vector<std::shared_ptr<Capture>> captures;  // that have not ended
};

Device& device() {
    static Device the_device;  // a process has one, as it has one runtime
    return the_device;
}

Stream& stream_of(cudaStream_t handle) {
    return handle == nullptr ? device().default_stream : *reinterpret_cast<Stream*>(handle);
}

void add(Stream& stream, Task task) {
    const std::lock_guard lock(device().mutex);
    stream.tasks.push_back(std::move(task));
    ++stream.added;
}

cudaError_t invalidate(Capture& capture, cudaError_t error) {
    capture.invalid = true;
    return error;
}

/// Work for a stream: into its queue, or, while it is captured, into the graph.
cudaError_t place(Stream& stream, DeviceWork work) {
    const std::lock_guard lock(device().mutex);
    if (!stream.capture) {
        add(stream, {std::move(work), {}});
        return cudaSuccess;
    }
    if (stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
    std::vector<Graph::Node>& nodes = stream.capture->graph.nodes;
    nodes.push_back({std::move(work), stream.front});
    stream.front = {nodes.size() - 1};
    return cudaSuccess;
}

/// What a thread may not call while it captures, for it might wait for the work that is being noted; of any thread
/// while one captures in global mode (cudaThreadExchangeStreamCaptureMode's "potentially unsafe" calls).
cudaError_t check_safe() {
    const std::lock_guard lock(device().mutex);
    for (const auto& capture : device().captures) {
        const bool own = capture->thread == std::this_thread::get_id();
        if (capture->mode == cudaStreamCaptureModeGlobal || (own && capture->mode != cudaStreamCaptureModeRelaxed))
            return invalidate(*capture, cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

/// A wait for a stream.
cudaError_t check_not_captured(const Stream& stream) {
    const std::lock_guard lock(device().mutex);
    if (stream.capture) return invalidate(*stream.capture, cudaErrorStreamCaptureUnsupported);
    return check_safe();
}

/// The nodes in an order that the graph allows, the last noted as early as it may be.
void run_graph(const Graph& graph) {
    std::vector<bool> done(graph.nodes.size(), false);
    for (std::size_t left = graph.nodes.size(); left > 0; --left) {
        for (std::size_t node = graph.nodes.size(); node-- > 0;) {
            const Nodes& after = graph.nodes[node].after;
            if (done[node] || !std::all_of(after.begin(), after.end(), [&](std::size_t i) { return done[i]; }))
                continue;
            graph.nodes[node].work();
            done[node] = true;
            break;
        }
    }
}

/// Whether the origin has come to wait for all that was noted.
bool is_joined(const Capture& capture) {
    Nodes reached;
    std::vector<std::size_t> open(capture.origin->front.begin(), capture.origin->front.end());
    while (!open.empty()) {
        const std::size_t node = open.back();
        open.pop_back();
        if (!reached.insert(node).second) continue;
        const Nodes& after = capture.graph.nodes[node].after;
        open.insert(open.end(), after.begin(), after.end());
    }
    return reached.size() == capture.graph.nodes.size();
}

/// Without the lock while a task runs: it may wait for other processes.
void run_until(const Point& point) {
    while (true) {
        Task task;
        {
            const std::lock_guard lock(device().mutex);
            if (point.stream->done >= point.position) return;
            task = std::move(point.stream->tasks.front());
            point.stream->tasks.pop_front();
        }
        if (task.after.stream != nullptr) run_until(task.after);
        if (task.work) task.work();
        const std::lock_guard lock(device().mutex);
        ++point.stream->done;
    }
}

void run_all() {
    run_until({&device().default_stream, device().default_stream.added});
    for (std::size_t i = 0; i < device().streams.size(); ++i)
        run_until({device().streams[i].get(), device().streams[i]->added});
}

Point& point_of(cudaEvent_t event) {
    return *reinterpret_cast<Point*>(event);
}

bool is_in(const std::map<const void*, std::size_t>& blocks, const void* address) {
    const auto next = blocks.upper_bound(address);
    if (next == blocks.begin()) return false;
    const auto& [begin, bytes] = *std::prev(next);
    return static_cast<const std::byte*>(address) < static_cast<const std::byte*>(begin) + bytes;
}

/// Memory that a copy reads and writes when the stream comes to it.
bool follows_the_stream(const void* address) {
    return is_in(device().memory, address) || is_in(device().pinned, address);
}

std::string demangled(const char* name) {
    int status = 0;
    char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    std::string result = status == 0 ? text : name;
    std::free(text);
    return result;
}

[[noreturn]] void give_up(const std::string& trouble) {
    std::fprintf(stderr, "the GPU's stand-in: %s\n", trouble.c_str());
    std::abort();
}

}  // namespace

void enqueue(cudaStream_t stream, DeviceWork work) {
    place(stream_of(stream), std::move(work));
}

void add_kernel_twin(const std::string& name_part, KernelTwin twin) {
    device().twins.emplace_back(name_part, std::move(twin));
}

std::int64_t host_waits() {
    return device().waits;
}

std::int64_t kernel_launches() {
    return device().launches;
}

std::int64_t graph_launches() {
    return device().graphs;
}

}  // namespace strata::testing_support

using namespace strata::testing_support;

extern "C" {

cudaError_t __wrap_cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t __wrap_cudaSetDevice(int) {
    return cudaSuccess;
}

cudaError_t __wrap_cudaGetLastError() {
    return cudaSuccess;
}

cudaError_t __wrap_cudaMalloc(void** memory, std::size_t bytes) {
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xff, bytes);
    device().memory[*memory] = bytes;
    return cudaSuccess;
}

cudaError_t __wrap_cudaFree(void* memory) {
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    run_all();
    device().memory.erase(memory);
    std::free(memory);
    return cudaSuccess;
}

/// In a capture it would be a node, and the memory the graph's own: nobody is to ask for that.
cudaError_t __wrap_cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t handle) {
    if (stream_of(handle).capture) give_up("memory asked for in the order of a captured stream");
    return __wrap_cudaMalloc(memory, bytes);
}

cudaError_t __wrap_cudaFreeAsync(void* memory, cudaStream_t handle) {
    if (stream_of(handle).capture) give_up("memory freed in the order of a captured stream");
    enqueue(handle, [memory] {
        device().memory.erase(memory);
        std::free(memory);
    });
    return cudaSuccess;
}

cudaError_t __wrap_cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned) {
    device().streams.push_back(std::make_unique<Stream>());
    *handle = reinterpret_cast<cudaStream_t>(device().streams.back().get());
    return cudaSuccess;
}

/// As the runtime does: what the stream holds goes on; the memory stays for that.
cudaError_t __wrap_cudaStreamDestroy(cudaStream_t) {
    return cudaSuccess;
}

cudaError_t __wrap_cudaStreamSynchronize(cudaStream_t handle) {
    if (const cudaError_t error = check_not_captured(stream_of(handle)); error != cudaSuccess) return error;
    ++device().waits;
    run_until({&stream_of(handle), stream_of(handle).added});
    return cudaSuccess;
}

cudaError_t __wrap_cudaDeviceSynchronize() {
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    ++device().waits;
    run_all();
    return cudaSuccess;
}

cudaError_t __wrap_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = reinterpret_cast<cudaEvent_t>(new Point);
    return cudaSuccess;
}

cudaError_t __wrap_cudaEventDestroy(cudaEvent_t event) {
    delete &point_of(event);
    return cudaSuccess;
}

cudaError_t __wrap_cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
    const std::lock_guard lock(device().mutex);
    Stream& stream = stream_of(handle);
    if (stream.capture && stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
    point_of(event) = {&stream, stream.added, stream.capture, stream.front};
    return cudaSuccess;
}

/// An event of a capture draws the stream into it; an event from outside ends it, since only a stream's own order
/// crosses a capture's border.
cudaError_t __wrap_cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    const std::lock_guard lock(device().mutex);
    Stream& stream = stream_of(handle);
    const Point& point = point_of(event);
    if (stream.capture && stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (point.capture) {
        if (point.capture->over) return cudaErrorCapturedEvent;
        if (point.capture->invalid) return cudaErrorStreamCaptureInvalidated;
        if (&stream == &device().default_stream) return invalidate(*point.capture, cudaErrorStreamCaptureImplicit);
        if (stream.capture && stream.capture != point.capture) {
            stream.capture->invalid = true;
            return invalidate(*point.capture, cudaErrorStreamCaptureMerge);
        }
        stream.capture = point.capture;
        stream.front.insert(point.nodes.begin(), point.nodes.end());
        return cudaSuccess;
    }
    if (stream.capture)
        return point.stream == nullptr ? cudaSuccess : invalidate(*stream.capture, cudaErrorStreamCaptureIsolation);
    add(stream, {{}, point});
    return cudaSuccess;
}

cudaError_t __wrap_cudaEventQuery(cudaEvent_t event) {
    const std::lock_guard lock(device().mutex);
    const Point& point = point_of(event);
    if (point.capture) return cudaErrorCapturedEvent;
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    return point.stream == nullptr || point.stream->done >= point.position ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t event) {
    if (point_of(event).capture) return cudaErrorCapturedEvent;
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    ++device().waits;
    if (point_of(event).stream != nullptr) run_until(point_of(event));
    return cudaSuccess;
}

cudaError_t __wrap_cudaMallocHost(void** memory, std::size_t bytes) {
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    *memory = std::malloc(bytes + 1);
    device().pinned[*memory] = bytes;
    return cudaSuccess;
}

cudaError_t __wrap_cudaFreeHost(void* memory) {
    if (const cudaError_t error = check_safe(); error != cudaSuccess) return error;
    run_all();
    device().pinned.erase(memory);
    std::free(memory);
    return cudaSuccess;
}

/// What is neither the device's nor pinned is pageable: CUDA stages what comes from it, and waits for what goes to it,
/// neither of which a captured stream can.
cudaError_t __wrap_cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t handle) {
    Stream& stream = stream_of(handle);
    const bool stages = !follows_the_stream(from);
    const bool waits = !stages && !follows_the_stream(to);
    if (stream.capture && (stages || waits)) return invalidate(*stream.capture, cudaErrorStreamCaptureUnsupported);
    if (stages) {
        const auto* begin = static_cast<const std::byte*>(from);
        return place(stream, [to, staged = std::vector<std::byte>(begin, begin + bytes)] {
            std::memcpy(to, staged.data(), staged.size());
        });
    }
    const cudaError_t error = place(stream, [=] { std::memcpy(to, from, bytes); });
    if (waits) {
        ++device().waits;
        run_until({&stream, stream.added});
    }
    return error;
}

cudaError_t __wrap_cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t handle) {
    return place(stream_of(handle), [=] { std::memset(to, value, bytes); });
}

cudaError_t __wrap_cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    const std::lock_guard lock(device().mutex);
    Stream& stream = stream_of(handle);
    if (handle == nullptr) return cudaErrorStreamCaptureUnsupported;  // the default stream waits for all others
    if (stream.capture) return cudaErrorIllegalState;
    stream.capture = std::make_shared<Capture>();
    stream.capture->origin = &stream;
    stream.capture->thread = std::this_thread::get_id();
    stream.capture->mode = mode;
    stream.front.clear();
    device().captures.push_back(stream.capture);
    return cudaSuccess;
}

cudaError_t __wrap_cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    const std::lock_guard lock(device().mutex);
    *graph = nullptr;
    const std::shared_ptr<Capture> capture = stream_of(handle).capture;
    if (!capture) return cudaErrorIllegalState;
    if (capture->origin != &stream_of(handle)) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
    if (capture->thread != std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed)
        return cudaErrorStreamCaptureWrongThread;
    const bool joined = is_joined(*capture);
    capture->over = true;
    std::erase(device().captures, capture);
    const auto leave = [&](Stream& stream) {
        if (stream.capture != capture) return;
        stream.capture.reset();
        stream.front.clear();
    };
    for (const auto& stream : device().streams) leave(*stream);
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!joined) return cudaErrorStreamCaptureUnjoined;
    *graph = reinterpret_cast<cudaGraph_t>(new Graph(std::move(capture->graph)));
    return cudaSuccess;
}

cudaError_t __wrap_cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    const std::lock_guard lock(device().mutex);
    const auto& capture = stream_of(handle).capture;
    *status = !capture           ? cudaStreamCaptureStatusNone
              : capture->invalid ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t __wrap_cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    auto* const nodes = new std::shared_ptr<const Graph>(new Graph(*reinterpret_cast<const Graph*>(graph)));
    *executable = reinterpret_cast<cudaGraphExec_t>(nodes);
    return cudaSuccess;
}

cudaError_t __wrap_cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<Graph*>(graph);
    return cudaSuccess;
}

cudaError_t __wrap_cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete reinterpret_cast<std::shared_ptr<const Graph>*>(executable);
    return cudaSuccess;
}

cudaError_t __wrap_cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
    if (stream_of(handle).capture) give_up("a graph launched into a captured stream");
    ++device().graphs;
    return place(stream_of(handle),
                 [graph = *reinterpret_cast<std::shared_ptr<const Graph>*>(executable)] { run_graph(*graph); });
}

void __wrap___cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*,
                                   dim3*, int*) {
    device().kernel_names[function] = demangled(name);
}

cudaError_t __wrap___cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
    return cudaSuccess;
}

cudaError_t __wrap___cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t,
                                      cudaStream_t handle) {
    const std::string& name = device().kernel_names[kernel];
    for (const auto& [part, twin] : device().twins) {
        if (name.find(part) == std::string::npos) continue;
        ++device().launches;
        return place(stream_of(handle), twin(arguments, grid, block));
    }
    give_up("no twin of kernel '" + name + "'");
}

}  // extern "C"
