#include "models/cuda_pass.h"
#include "models/embedding_grid.h"

namespace strata::models {

template void run_cuda_pass(const EmbeddingForward<float>&, const CudaQueue&);
template void run_cuda_pass(const EmbeddingForward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const EmbeddingForward<Fp16>&, const CudaQueue&);
template void run_cuda_pass(const EmbeddingBackward<float>&, const CudaQueue&);
template void run_cuda_pass(const EmbeddingBackward<Bf16>&, const CudaQueue&);
template void run_cuda_pass(const EmbeddingBackward<Fp16>&, const CudaQueue&);

}  // namespace strata::models
