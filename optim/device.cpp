// For builds without CUDA; device.cu is its twin.
#include "optim/device.h"

#include "core/error.h"

namespace strata::optim {

bool cuda_built() {
    return false;
}

int device_count() {
    return 0;
}

DeviceFacts device_facts(int device) {
    STRATA_CHECK(false, "GPU {} of a build without CUDA", device);
}

}  // namespace strata::optim
