#include "nccl_backends.h"

#include <cuda_runtime_api.h>

#include <stdexcept>

#include "dist/mpi_communicator.h"

namespace strata::dist::testing {
namespace {

void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error("a call of CUDA's failed in a test");
}

}  // namespace

NcclBackend::NcclBackend(std::shared_ptr<const NcclLibrary> nccl, NcclOptions options)
    : communicator_(std::make_unique<NcclCommunicator>(std::make_unique<MpiCommunicator>(), std::move(nccl), options)) {
}

void* NcclBackend::allocate(std::size_t bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes + 1));
    return memory;
}

void NcclBackend::free(void* memory) {
    check(cudaFree(memory));
}

void NcclBackend::copy_to(void* memory, const void* host, std::size_t bytes) {
    optim::copy_bytes(memory, host, bytes, nullptr);
}

void NcclBackend::copy_from(void* host, const void* memory, std::size_t bytes) {
    optim::copy_bytes(host, memory, bytes, nullptr);
    check(cudaStreamSynchronize(nullptr));
}

std::vector<BackendCase> nccl_cases(const std::function<std::shared_ptr<const NcclLibrary>()>& library, int device,
                                    const std::string& missing) {
    std::vector<BackendCase> cases;
    for (const bool ordered : {false, true}) {
        NcclOptions options;
        options.device = device;
        options.ordered_sums = ordered;
        cases.push_back({.name = ordered ? "NcclOrdered" : "Nccl",
                         .make = [=] { return std::make_unique<NcclBackend>(library(), options); },
                         .ordered = ordered,
                         .missing = missing});
    }
    return cases;
}

}  // namespace strata::dist::testing
