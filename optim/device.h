// What of CUDA this build and this machine have. Callable in every build.
#pragma once

namespace strata::optim {

/// True when the CUDA kernels were compiled in.
bool cuda_built();

/// GPUs that this process sees; 0 in a build without CUDA, and on a machine without a GPU or a driver. Never throws.
int device_count();

}  // namespace strata::optim
