#include "models/cuda_pass.h"
#include "models/norm_grid.h"

namespace strata::models {

template void run_cuda_pass(const NormForward<float>&, const CudaQueue&);
template void run_cuda_pass(const NormForward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const NormForward<Fp16>&, const CudaQueue&);
template void run_cuda_pass(const NormBackward<float>&, const CudaQueue&);
template void run_cuda_pass(const NormBackward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const NormBackward<Fp16>&, const CudaQueue&);

}  // namespace strata::models
