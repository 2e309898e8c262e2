// What kernels of products share: reading bfloat16 in pairs, asking memory ahead, and writing sums. Only for their
// files, which are compiled for the processors that they ask for.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "models/product_kernel.h"
#include "models/simd.h"

// The level of all functions here.
#define STRATA_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace strata::models::packing {

inline constexpr std::int64_t width = simd::width;
inline constexpr std::int64_t line = 64;  // bytes of a cache line

constexpr std::int64_t parts_of(std::int64_t n, std::int64_t size) {
    return (n + size - 1) / size;
}
constexpr std::int64_t pairs_of(std::int64_t inner) {
    return parts_of(inner, 2);
}

/// Lanes below `count`.
STRATA_BF16 STRATA_INLINE __mmask16 lanes(std::int64_t count) {
    return count >= width ? __mmask16(0xFFFF) : __mmask16((1U << (count > 0 ? count : 0)) - 1U);
}

/// Sixteen elements as the lower halves of words.
STRATA_BF16 STRATA_INLINE __m512i words_of(const Bf16* from, __mmask16 mask) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
}

/// Two rows as pairs; a row that is not there is zeros.
STRATA_BF16 STRATA_INLINE __m512i pairs_of_rows(const Bf16* row, const Bf16* next, __mmask16 mask) {
    const __m512i low = words_of(row, mask);
    return next == nullptr ? low : _mm512_or_si512(low, _mm512_slli_epi32(words_of(next, mask), 16));
}

/// Sixteen rows of sixteen pairs, of which some are there, become columns; the rest is zeros.
STRATA_BF16 STRATA_INLINE void transpose_pairs(const Bf16* from, std::int64_t stride, std::int64_t there,
                                               std::int64_t pairs, simd::Floats (&rows)[width]) {
#pragma GCC unroll 16
    for (int r = 0; r < width; ++r) {
        rows[r] = (simd::Floats)(r < there ? _mm512_maskz_loadu_epi32(lanes(pairs), from + r * stride)
                                           : _mm512_setzero_si512());
    }
    simd::transpose(rows);
}

STRATA_BF16 STRATA_INLINE __m512 widened(const Bf16* from, __mmask16 mask) {
    return (__m512)_mm512_slli_epi32(words_of(from, mask), 16);
}

/// Writes or adds sixteen sums to the result.
STRATA_BF16 STRATA_INLINE void put(const Product& product, std::int64_t at, __m512 sum, __mmask16 mask) {
    if (product.out != nullptr) {
        if (product.adds) sum = _mm512_add_ps(sum, widened(product.out + at, mask));
        _mm256_mask_storeu_epi16(product.out + at, mask, (__m256i)_mm512_cvtneps_pbh(sum));
    } else {
        if (product.adds) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, product.wide_out + at));
        _mm512_mask_storeu_ps(product.wide_out + at, mask, sum);
    }
}

/// Asks for what `rows` by `columns` sums will be added to in the end.
STRATA_INLINE void ask_for_sums(const Product& product, std::int64_t at, std::int64_t rows, std::int64_t columns) {
    const std::int64_t element = product.out != nullptr ? sizeof(Bf16) : sizeof(float);
    const char* row = product.out != nullptr ? reinterpret_cast<const char*>(product.out + at)
                                             : reinterpret_cast<const char*>(product.wide_out + at);
    for (std::int64_t r = 0; r < rows; ++r, row += product.out_stride * element) {
        for (std::int64_t b = 0; b < columns * element; b += line) __builtin_prefetch(row + b, /*write*/ 1);
    }
}

/// Columns of B that are packed together: a panel's.
struct Columns {
    std::int64_t first, count;
};

/// A product cut into panels of about the same number of columns, a multiple of `unit`, and these into parts of rows.
struct Panels {
    Panels(const Product& its_product, std::int64_t most_columns, std::int64_t unit, std::int64_t its_part_rows)
        : product(its_product),
          count(parts_of(product.columns, most_columns)),
          columns(parts_of(parts_of(product.columns, unit), count) * unit),
          part_rows(its_part_rows),
          parts_each(parts_of(product.rows, part_rows)) {}

    Columns operator[](std::int64_t panel) const {
        return {panel * columns, std::min(product.columns - panel * columns, columns)};
    }
    std::int64_t parts() const { return count * parts_each; }
    std::int64_t panel_of(std::int64_t part) const { return part / parts_each; }
    std::int64_t first_row(std::int64_t part) const { return part % parts_each * part_rows; }
    std::int64_t end_row(std::int64_t part) const { return std::min(first_row(part) + part_rows, product.rows); }

    const Product& product;
    std::int64_t count;
    std::int64_t columns;  // of all but the last
    std::int64_t part_rows;
    std::int64_t parts_each;  // of a panel
};

/// Asks memory for what the next panel will be packed of, a share with each `unit` rows of this one: packing alone
/// would wait for it.
class NextPanel {
  public:
    NextPanel() = default;
    /// Nothing where `panel` is the last that a thread multiplies.
    NextPanel(const Panels& panels, std::int64_t panel, std::int64_t last_panel, std::int64_t unit)
        : product_(&panels.product) {
        if (panel == last_panel) return;
        columns_ = panels[panel + 1];
        const Product& product = *product_;
        const std::int64_t shares = parts_of(product.rows, unit);
        std::int64_t lines = 0;
        for (int t = 0; t < product.term_count; ++t) {
            const Source source = source_of(product.terms[t]);
            lines += source.rows * parts_of(source.bytes, line);
        }
        share_ = parts_of(lines, shares);
        source_ = source_of(product.terms[0]);
    }

    STRATA_INLINE void ask() {
        for (std::int64_t lines = share_; lines > 0 && source_.rows > 0; --lines) {
            __builtin_prefetch(source_.row + at_, /*write*/ 0, /*level 2*/ 2);
            at_ += line;
            if (at_ < source_.bytes) continue;
            at_ = 0;
            source_.row += source_.stride;
            if (--source_.rows == 0 && ++term_ < product_->term_count) source_ = source_of(product_->terms[term_]);
        }
    }

  private:
    /// Where the columns of a term's B lie: rows of `bytes`, `stride` bytes apart.
    struct Source {
        const char* row;
        std::int64_t rows, bytes, stride;
    };

    Source source_of(const ProductTerm& term) const {
        const std::int64_t element = sizeof(Bf16), stride = term.right.stride;
        const auto at = [&](std::int64_t offset) { return reinterpret_cast<const char*>(term.right.data + offset); };
        if (term.right.transposed)
            return {at(columns_.first * stride), columns_.count, term.inner * element, stride * element};
        return {at(columns_.first), term.inner, columns_.count * element, stride * element};
    }

    const Product* product_ = nullptr;
    Columns columns_{};
    std::int64_t share_ = 0;  // lines
    Source source_{};         // what is left of a term's
    std::int64_t at_ = 0;     // bytes, in its first row
    int term_ = 0;
};

}  // namespace strata::models::packing
