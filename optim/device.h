// What of CUDA this build and this machine have. Callable in every build.
#pragma once

#include <string>

namespace strata::optim {

/// True when the CUDA kernels were compiled in.
bool cuda_built();

/// GPUs that this process sees; 0 in a build without CUDA, and on a machine without a GPU or a driver. Never throws.
int device_count();

/// A GPU: the one it is, and what it is like.
struct DeviceFacts {
    std::string uuid;    ///< "GPU-..." as nvidia-smi writes it
    std::string name;    ///< "NVIDIA H200"
    int driver = 0;      ///< the newest CUDA version that its driver serves: 13000 for 13.0
    int capability = 0;  ///< what its kind can do, CUDA's compute capability: 90 for 9.0
};

/// `device` is one of device_count(). SystemError when it cannot be asked.
DeviceFacts device_facts(int device);

}  // namespace strata::optim
