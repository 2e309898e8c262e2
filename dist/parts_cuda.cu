#include "dist/parts_cuda.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <stdexcept>

#include "optim/cuda_check.h"

namespace strata::dist {
namespace {

constexpr int block_threads = 256;

template <typename Word>
__global__ void __launch_bounds__(block_threads)
    parts_copy_kernel(const __grid_constant__ PieceTable table, PartsCopy copy, std::byte* packed) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    copy_body<Word>(table, copy, packed, static_cast<int>(blockIdx.y), thread, std::int64_t{gridDim.x} * blockDim.x);
}

template <typename Float, typename Sum>
__global__ void __launch_bounds__(block_threads)
    parts_sum_kernel(const __grid_constant__ PieceTable table, SumTerms terms) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    sum_body<Float, Sum>(table, terms, thread, std::int64_t{gridDim.x} * blockDim.x);
}

/// Threads stride over the elements, so the limit only keeps the grid's size sensible.
unsigned blocks_for(const PieceTable& table) {
    const std::int64_t elements = table.end - table.begin;
    return static_cast<unsigned>(std::min<std::int64_t>((elements + block_threads - 1) / block_threads, 2048));
}

template <typename Word>
void copy_parts(const PieceTable& table, PartsCopy copy, std::byte* packed, int ranks, CUstream_st* stream) {
    const dim3 grid(blocks_for(table), static_cast<unsigned>(ranks));
    parts_copy_kernel<Word><<<grid, block_threads, 0, stream>>>(table, copy, packed);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

template <typename Float, typename Sum>
void sum_parts(const PieceTable& table, const SumTerms& terms, CUstream_st* stream) {
    parts_sum_kernel<Float, Sum><<<blocks_for(table), block_threads, 0, stream>>>(table, terms);
    STRATA_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void copy_parts_cuda(const PieceTable& table, PartsCopy copy, std::byte* packed, int ranks, int word_bytes,
                     CUstream_st* stream) {
    if (table.begin == table.end) return;
    switch (word_bytes) {
        case 2:
            return copy_parts<std::uint16_t>(table, copy, packed, ranks, stream);
        case 4:
            return copy_parts<std::uint32_t>(table, copy, packed, ranks, stream);
        case 8:
            return copy_parts<std::uint64_t>(table, copy, packed, ranks, stream);
        default:
            throw std::logic_error("no elements of this size");
    }
}

void sum_parts_cuda(const PieceTable& table, const SumTerms& terms, ElementType type, CUstream_st* stream) {
    if (table.begin == table.end) return;
    switch (type) {
        case ElementType::float32:
            return sum_parts<float, float>(table, terms, stream);
        case ElementType::float64:
            return sum_parts<double, double>(table, terms, stream);
        case ElementType::bfloat16:
            return sum_parts<c10::BFloat16, float>(table, terms, stream);
        case ElementType::float16:
            return sum_parts<c10::Half, float>(table, terms, stream);
    }
}

}  // namespace strata::dist
