// Products by VDPBF16PS, of processors with AVX512-BF16: up to 48 columns of B at a time, two rows of them to a 32-bit
// word, and rows of A, read where they lie, eight at a time against 24 registers of sums.
#pragma once

#include "models/product_kernel.h"

namespace strata::models {

/// Null where the processor lacks it.
const ProductKernel* vector_products();

}  // namespace strata::models
