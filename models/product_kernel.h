// Products of bfloat16 matrices with sums in fp32, for processors that have AVX512-BF16 but no AMX: C = A B + bias, or
// C += A B, where B's columns may be another matrix's rows and A B may be a sum of several products.
//
// Up to 48 columns of B are packed at a time, two rows of them to a 32-bit word as VDPBF16PS takes them, and stay in
// the level 2 cache while all rows of A pass by, eight at a time against 24 registers of sums (K. Goto, R. van de
// Geijn, "Anatomy of high-performance matrix multiplication", 2008), and what the next columns are packed of is asked
// for meanwhile, a share with each tile. A is read where it lies. Each element is one sum from the first term to the
// last, so neither the number of rows nor threads change bits. Numbers below 2^-126 count as zero. No torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"

namespace strata::models {

/// Whether this processor runs the kernel and has nothing faster (AMX, through oneDNN).
bool product_kernel_can();

/// A, in pairs of neighbours along the inner dimension. Steps in elements: row i's pair p lies at
/// data[i / 8 * eight_rows + i % 8 * row + p * pair].
struct ProductLeft {
    const Bf16* data;
    std::int64_t eight_rows, row, pair;
};

/// B [inner, columns]: element (k, c) is data[k * stride + c], or data[c * stride + k] where transposed.
struct ProductRight {
    const Bf16* data;
    std::int64_t stride;
    bool transposed;
};

/// A B. The inner dimension is even unless A is packed and B is not transposed.
struct ProductTerm {
    ProductLeft left;
    ProductRight right;
    std::int64_t inner;
};

struct Product {
    static constexpr int most_terms = 3;
    std::int64_t rows, columns;
    ProductTerm terms[most_terms];
    int term_count;
    const Bf16* bias;  ///< [columns] or null
    Bf16* out;         ///< rounded to nearest; or null, and
    float* wide_out;   ///< as the sums are
    std::int64_t out_stride;
    bool adds;  ///< to what is there
};

/// Rows `stride` apart, read in place.
ProductLeft left_in_place(const Bf16* data, std::int64_t stride);

/// The transpose of a [inner, rows] matrix needs neighbours of a column together: packed_left_size() elements, written
/// by pack_left() for eight rows of it at a time, so that threads share the work.
std::int64_t packed_left_size(std::int64_t rows, std::int64_t inner);
std::int64_t packed_left_parts(std::int64_t rows);
void pack_left(const Bf16* from, std::int64_t stride, std::int64_t rows, std::int64_t inner, Bf16* to,
               std::int64_t first_part, std::int64_t last_part);
ProductLeft packed_left(const Bf16* packed, std::int64_t inner);

/// The product in parts that threads can share: neighbours share packed columns of B. They lie in `scratch`, aligned to
/// 64 bytes, of product_scratch() words for the inner dimensions of all terms together.
std::int64_t product_parts(const Product& product);
std::int64_t product_scratch(std::int64_t inner);
void run_product(const Product& product, std::int64_t first_part, std::int64_t last_part, std::int32_t* scratch);

}  // namespace strata::models
