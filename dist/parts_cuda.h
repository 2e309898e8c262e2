// Launches of parts_kernel.h's bodies: one for each table. Built only where nvcc was found.
#pragma once

#ifdef STRATA_WITH_CUDA

#include "dist/communicator.h"
#include "dist/parts_kernel.h"

struct CUstream_st;

namespace strata::dist {

/// Copies between the pieces and the packed buffer, `word_bytes` (2, 4 or 8) an element. `ranks`: of the packed buffer.
void copy_parts_cuda(const PieceTable& table, PartsCopy copy, std::byte* packed, int ranks, int word_bytes,
                     CUstream_st* stream);

void sum_parts_cuda(const PieceTable& table, const SumTerms& terms, ElementType type, CUstream_st* stream);

}  // namespace strata::dist

#endif
