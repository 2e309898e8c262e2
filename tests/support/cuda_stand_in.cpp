#include "tests/support/cuda_stand_in.h"

#include <cxxabi.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace strata::testing_support {
namespace {

struct Stream;

struct Point {
    Stream* stream = nullptr;
    std::int64_t position = 0;  // tasks that come before it
};

struct Task {
    DeviceWork work;  // or
    Point after;
};

struct Stream {
    std::deque<Task> tasks;
    std::int64_t added = 0;
    std::int64_t done = 0;
};

struct Device {
    std::mutex mutex;
    Stream default_stream;
    std::vector<std::unique_ptr<Stream>> streams;
    std::map<const void*, std::string> kernel_names;
    std::map<const void*, std::size_t> memory;  // what cudaMalloc gave
    std::map<const void*, std::size_t> pinned;  // what cudaMallocHost gave
    std::vector<std::pair<std::string, KernelTwin>> twins;
    std::atomic<std::int64_t> waits = 0;
    std::atomic<std::int64_t> launches = 0;
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
    add(stream_of(stream), {std::move(work), {}});
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
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xff, bytes);
    device().memory[*memory] = bytes;
    return cudaSuccess;
}

cudaError_t __wrap_cudaFree(void* memory) {
    run_all();
    device().memory.erase(memory);
    std::free(memory);
    return cudaSuccess;
}

cudaError_t __wrap_cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) {
    return __wrap_cudaMalloc(memory, bytes);
}

cudaError_t __wrap_cudaFreeAsync(void* memory, cudaStream_t handle) {
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
    ++device().waits;
    run_until({&stream_of(handle), stream_of(handle).added});
    return cudaSuccess;
}

cudaError_t __wrap_cudaDeviceSynchronize() {
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
    point_of(event) = {&stream_of(handle), stream_of(handle).added};
    return cudaSuccess;
}

cudaError_t __wrap_cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    add(stream_of(handle), {{}, point_of(event)});
    return cudaSuccess;
}

cudaError_t __wrap_cudaEventQuery(cudaEvent_t event) {
    const std::lock_guard lock(device().mutex);
    const Point& point = point_of(event);
    return point.stream == nullptr || point.stream->done >= point.position ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t event) {
    ++device().waits;
    if (point_of(event).stream != nullptr) run_until(point_of(event));
    return cudaSuccess;
}

cudaError_t __wrap_cudaMallocHost(void** memory, std::size_t bytes) {
    *memory = std::malloc(bytes + 1);
    device().pinned[*memory] = bytes;
    return cudaSuccess;
}

cudaError_t __wrap_cudaFreeHost(void* memory) {
    run_all();
    device().pinned.erase(memory);
    std::free(memory);
    return cudaSuccess;
}

/// What is neither the device's nor pinned is pageable: CUDA stages what comes from it, and waits for what goes to it.
cudaError_t __wrap_cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t handle) {
    if (follows_the_stream(from)) {
        enqueue(handle, [=] { std::memcpy(to, from, bytes); });
        if (!follows_the_stream(to)) {
            ++device().waits;
            run_until({&stream_of(handle), stream_of(handle).added});
        }
    } else {
        const auto* begin = static_cast<const std::byte*>(from);
        enqueue(handle, [to, staged = std::vector<std::byte>(begin, begin + bytes)] {
            std::memcpy(to, staged.data(), staged.size());
        });
    }
    return cudaSuccess;
}

cudaError_t __wrap_cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t handle) {
    enqueue(handle, [=] { std::memset(to, value, bytes); });
    return cudaSuccess;
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
        enqueue(handle, twin(arguments, grid, block));
        return cudaSuccess;
    }
    give_up("no twin of kernel '" + name + "'");
}

}  // extern "C"
