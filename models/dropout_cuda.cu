#include "models/cuda_pass.h"
#include "models/dropout_grid.h"

namespace strata::models {

template void run_cuda_pass(const DropoutPass<float>&, const CudaQueue&);
template void run_cuda_pass(const DropoutPass<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const DropoutPass<Fp16>&, const CudaQueue&);

}  // namespace strata::models
