#include "optim/cuda_graph.h"

#include "optim/cuda_check.h"

#include <cuda_runtime_api.h>

#include <exception>
#include <stdexcept>

namespace strata::optim {

CudaGraph::~CudaGraph() {
    if (executable_ == nullptr || std::uncaught_exceptions() > 0) return;
    try {
        replayed_.wait();
    } catch (const std::exception&) {
        // The device has failed, which whoever asks it next will hear.
    }
    cudaGraphExecDestroy(executable_);
}

void CudaGraph::record(const std::function<void()>& work) {
    if (executable_ != nullptr) throw std::logic_error("a graph is recorded once");
    cudaGraph_t graph = nullptr;
    STRATA_CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    try {
        work();
    } catch (...) {
        if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
        cudaGetLastError();  // what went wrong is on its way to the caller
        throw;
    }
    STRATA_CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    try {
        STRATA_CUDA_CHECK(cudaGraphInstantiate(&executable_, graph, 0));
    } catch (...) {
        cudaGraphDestroy(graph);
        throw;
    }
    cudaGraphDestroy(graph);
}

void CudaGraph::replay() {
    STRATA_CUDA_CHECK(cudaGraphLaunch(executable_, stream_));
    replayed_.record(stream_);
}

}  // namespace strata::optim
