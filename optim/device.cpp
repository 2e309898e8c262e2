// For builds without CUDA; device.cu is its twin.
#include "optim/device.h"

namespace strata::optim {

bool cuda_built() {
    return false;
}

int device_count() {
    return 0;
}

}  // namespace strata::optim
