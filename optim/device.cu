#include "optim/device.h"

#include <cuda_runtime_api.h>

namespace strata::optim {

bool cuda_built() {
    return true;
}

int device_count() {
    int count = 0;
    // No driver and no GPU are answers here, not failures.
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();
    return 0;
}

}  // namespace strata::optim
