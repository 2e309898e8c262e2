#include "optim/cuda_handles.h"

#include "optim/cuda_check.h"

#include <cuda_runtime_api.h>

#include <stdexcept>

namespace strata::optim {

void use_device(int device) {
    STRATA_CUDA_CHECK(cudaSetDevice(device));
}

CudaStream::CudaStream() {
    STRATA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

CudaStream::~CudaStream() {
    cudaStreamDestroy(stream_);
}

CudaEvent::CudaEvent() {
    STRATA_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}

CudaEvent::~CudaEvent() {
    cudaEventDestroy(event_);
}

void CudaEvent::record(CUstream_st* stream) {
    STRATA_CUDA_CHECK(cudaEventRecord(event_, stream));
}

void CudaEvent::order(CUstream_st* stream) const {
    STRATA_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0));
}

bool CudaEvent::passed() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaSuccess) return true;
    if (status == cudaErrorNotReady) return false;
    cuda_failed("cudaEventQuery(event_)", cudaGetErrorName(status), cudaGetErrorString(status), __FILE__, __LINE__);
}

void CudaEvent::wait() const {
    STRATA_CUDA_CHECK(cudaEventSynchronize(event_));
}

DeviceMemory::~DeviceMemory() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
}

std::byte* DeviceMemory::at_least(std::size_t bytes) {
    if (bytes <= size_) return data_;
    if (is_captured(stream_)) throw std::logic_error("device memory moves while its stream is captured");
    if (data_ != nullptr) STRATA_CUDA_CHECK(cudaFreeAsync(data_, stream_));
    data_ = nullptr;
    size_ = 0;
    STRATA_CUDA_CHECK(cudaMallocAsync(reinterpret_cast<void**>(&data_), bytes, stream_));
    size_ = bytes;
    ++moves_;
    return data_;
}

void* allocate_pinned(std::size_t bytes) {
    void* memory = nullptr;
    STRATA_CUDA_CHECK(cudaMallocHost(&memory, bytes));
    return memory;
}

void free_pinned(void* memory) {
    cudaFreeHost(memory);
}

void copy_bytes(void* to, const void* from, std::size_t bytes, CUstream_st* stream) {
    if (bytes > 0) STRATA_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream));
}

void clear_bytes(void* memory, std::size_t bytes, CUstream_st* stream) {
    if (bytes > 0) STRATA_CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream));
}

bool is_captured(CUstream_st* stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    STRATA_CUDA_CHECK(cudaStreamIsCapturing(stream, &status));
    return status != cudaStreamCaptureStatusNone;
}

void wait_for(CUstream_st* stream) {
    STRATA_CUDA_CHECK(cudaStreamSynchronize(stream));
}

}  // namespace strata::optim
