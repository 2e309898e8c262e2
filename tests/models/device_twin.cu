#include <cuda_runtime_api.h>

#include "optim/cuda_check.h"
#include "tests/models/pass_run.h"

namespace strata::models::testing {

DeviceTwin::DeviceTwin(void* host, std::size_t bytes) : host_(host), bytes_(bytes) {
    STRATA_CUDA_CHECK(cudaMalloc(&device_, bytes_ + 1));  // none for no bytes, else
    STRATA_CUDA_CHECK(cudaMemcpy(device_, host_, bytes_, cudaMemcpyHostToDevice));
}

DeviceTwin::~DeviceTwin() {
    cudaFree(device_);
}

void DeviceTwin::fetch() const {
    STRATA_CUDA_CHECK(cudaDeviceSynchronize());
    STRATA_CUDA_CHECK(cudaMemcpy(host_, device_, bytes_, cudaMemcpyDeviceToHost));
}

}  // namespace strata::models::testing
