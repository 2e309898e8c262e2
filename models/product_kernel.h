// Products of bfloat16 matrices with sums in fp32: C = A B + bias, or C += A B, where B's columns may be another
// matrix's rows and A B may be a sum of several products.
//
// Columns of B are packed as the processor multiplies them and stay in the level 2 cache while all rows of A pass by
// (K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008); what the next columns are
// packed of is asked for meanwhile. Each element is one sum from the first term to the last, so neither the number of
// rows nor threads change bits; kernels differ in the order of a sum. Numbers below 2^-126 count as zero. No torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"

namespace strata::models {

/// A [rows, inner]: rows `stride` elements apart, or what pack_left() has written of A's transpose.
struct ProductLeft {
    const Bf16* data;
    std::int64_t stride;
    bool packed;
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

inline ProductLeft left_in_place(const Bf16* data, std::int64_t stride) {
    return {data, stride, false};
}
inline ProductLeft packed_left(const Bf16* packed) {
    return {packed, 0, true};
}

/// A processor's way to multiply. Stateless: threads share it.
class ProductKernel {
  public:
    ProductKernel() = default;
    ProductKernel(const ProductKernel&) = delete;
    ProductKernel& operator=(const ProductKernel&) = delete;
    virtual ~ProductKernel() = default;

    /// An A that lies transposed, [inner, rows], rows of it `stride` apart, is packed before: packed_left_size()
    /// elements, in parts that threads can share.
    virtual std::int64_t packed_left_size(std::int64_t rows, std::int64_t inner) const = 0;
    virtual std::int64_t packed_left_parts(std::int64_t rows) const = 0;
    virtual void pack_left(const Bf16* from, std::int64_t stride, std::int64_t rows, std::int64_t inner, Bf16* to,
                           std::int64_t first_part, std::int64_t last_part) const = 0;

    /// The product in parts that threads can share: neighbours share packed columns of B. They lie in `scratch`,
    /// aligned to 64 bytes, of scratch() words for the inner dimensions of all terms together.
    virtual std::int64_t parts(const Product& product) const = 0;
    virtual std::int64_t scratch(std::int64_t inner) const = 0;
    virtual void run(const Product& product, std::int64_t first_part, std::int64_t last_part,
                     std::int32_t* scratch) const = 0;
};

/// The fastest that this processor runs: models/tile_products.h, else models/vector_products.h, else null.
const ProductKernel* fastest_products();

}  // namespace strata::models
