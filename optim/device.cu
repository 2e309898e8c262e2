#include "optim/device.h"

#include "optim/cuda_check.h"

#include <cuda_runtime_api.h>

#include <cstdio>

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

DeviceFacts device_facts(int device) {
    cudaDeviceProp properties{};
    DeviceFacts facts;
    STRATA_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    STRATA_CUDA_CHECK(cudaDriverGetVersion(&facts.driver));
    facts.name = properties.name;
    facts.capability = 10 * properties.major + properties.minor;
    facts.uuid = "GPU";
    for (int i = 0; i < 16; ++i) {
        char digits[4];
        const bool begins_part = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;
        std::snprintf(digits, sizeof(digits), begins_part ? "-%02x" : "%02x",
                      static_cast<unsigned char>(properties.uuid.bytes[i]));
        facts.uuid += digits;
    }
    return facts;
}

}  // namespace strata::optim
