// Streams, events and memory of the current GPU, each owned by an object. Declared everywhere, built only where nvcc
// was found. Errors: SystemError with CUDA's own words.
#pragma once

#ifdef STRATA_WITH_CUDA

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // what cudaStream_t and cudaEvent_t point to; spares callers CUDA's headers
struct CUevent_st;

namespace strata::optim {

/// Makes `device` this thread's current one. Every thread that touches a GPU says so first: the runtime's own choice is
/// number 0, and a word to it there costs that GPU hundreds of megabytes.
void use_device(int device);

/// A stream that no other one waits for unless an event says so.
class CudaStream {
  public:
    CudaStream();
    ~CudaStream();
    CudaStream(const CudaStream&) = delete;
    CudaStream& operator=(const CudaStream&) = delete;
    CUstream_st* get() const { return stream_; }

  private:
    CUstream_st* stream_ = nullptr;
};

/// A point in a stream. Without timing, which would cost.
class CudaEvent {
  public:
    CudaEvent();
    ~CudaEvent();
    CudaEvent(const CudaEvent&) = delete;
    CudaEvent& operator=(const CudaEvent&) = delete;

    /// The point after all that `stream` holds now.
    void record(CUstream_st* stream);
    /// What `stream` is given from here on comes after that point. The host goes on.
    void order(CUstream_st* stream) const;
    /// Whether the stream has passed it. Any thread may ask.
    bool passed() const;
    /// Stops the host until it has.
    void wait() const;

  private:
    CUevent_st* event_ = nullptr;
};

/// Device memory that grows and never shrinks, for one stream's use: what it gives is there, and what it takes away is
/// done with, in that stream's order. So growing stops neither the host nor other streams, which on several ranks may
/// be waiting for one another. Not while the stream is captured: its graph would keep the address (std::logic_error).
class DeviceMemory {
  public:
    explicit DeviceMemory(CUstream_st* stream = nullptr) : stream_(stream) {}
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    /// At least so many bytes, aligned to 256; what they held is lost when they move.
    std::byte* at_least(std::size_t bytes);
    /// How often it has moved: graphs that were captured before hold another address.
    std::int64_t moves() const { return moves_; }

  private:
    CUstream_st* stream_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::int64_t moves_ = 0;
};

/// Host memory that the device copies from and to by itself.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* memory);

/// In the order of `stream`; between any two of host and device memory. Host memory should be pinned: else the host
/// stops.
void copy_bytes(void* to, const void* from, std::size_t bytes, CUstream_st* stream);

/// Sets bytes of device memory to zero, in the order of `stream`.
void clear_bytes(void* memory, std::size_t bytes, CUstream_st* stream);

/// Whether what `stream` is given goes into a graph (cuda_graph.h).
bool is_captured(CUstream_st* stream);

/// Stops the host until `stream` has run out.
void wait_for(CUstream_st* stream);

}  // namespace strata::optim

#endif
