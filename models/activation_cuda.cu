#include "models/activation_grid.h"
#include "models/cuda_pass.h"

namespace strata::models {

template void run_cuda_pass(const ActivationForward<float>&, const CudaQueue&);
template void run_cuda_pass(const ActivationForward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const ActivationForward<Fp16>&, const CudaQueue&);
template void run_cuda_pass(const ActivationBackward<float>&, const CudaQueue&);
template void run_cuda_pass(const ActivationBackward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const ActivationBackward<Fp16>&, const CudaQueue&);

}  // namespace strata::models
