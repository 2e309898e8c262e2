#include "models/product_kernel.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "models/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace strata::models {
namespace {

constexpr std::int64_t width = simd::width;
constexpr std::int64_t most_vectors = 3;  // of a panel
constexpr std::int64_t tile_rows = 8;
constexpr std::int64_t part_rows = 256;
constexpr std::int64_t line = 64;  // bytes of a cache line

std::int64_t parts_of(std::int64_t n, std::int64_t size) {
    return (n + size - 1) / size;
}
std::int64_t pairs_of(std::int64_t inner) {
    return parts_of(inner, 2);
}

/// Panels have about the same number of vectors.
std::int64_t panels_of(const Product& product) {
    return parts_of(product.columns, most_vectors * width);
}
std::int64_t panel_columns(const Product& product) {
    return parts_of(parts_of(product.columns, width), panels_of(product)) * width;
}

}  // namespace

ProductLeft left_in_place(const Bf16* data, std::int64_t stride) {
    return {data, tile_rows * stride, stride, 2};
}

std::int64_t packed_left_size(std::int64_t rows, std::int64_t inner) {
    return packed_left_parts(rows) * tile_rows * 2 * pairs_of(inner);
}

std::int64_t packed_left_parts(std::int64_t rows) {
    return parts_of(rows, tile_rows);
}

ProductLeft packed_left(const Bf16* packed, std::int64_t inner) {
    return {packed, tile_rows * 2 * pairs_of(inner), 2, tile_rows * 2};
}

std::int64_t product_parts(const Product& product) {
    return panels_of(product) * parts_of(product.rows, part_rows);
}

std::int64_t product_scratch(std::int64_t inner) {
    return pairs_of(inner + Product::most_terms) * most_vectors * width;
}

#if defined(__x86_64__)

// The functions so marked are compiled for the one processor level that product_kernel_can() asks for.
#define STRATA_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace {

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

// ---- packing: [pairs][vectors][16] words ----

STRATA_BF16 STRATA_INLINE void pack_rows(const ProductRight& right, std::int64_t column, std::int64_t columns,
                                         std::int64_t inner, std::int64_t vectors, std::int32_t* to) {
    for (std::int64_t k = 0; k < inner; k += 2) {
        const Bf16* const row = right.data + k * right.stride + column;
        const Bf16* const next = k + 1 < inner ? row + right.stride : nullptr;
        for (std::int64_t v = 0; v < vectors; ++v) {
            const std::int64_t at = v * width;
            _mm512_store_si512(to, pairs_of_rows(row + at, next == nullptr ? nullptr : next + at, lanes(columns - at)));
            to += width;
        }
    }
}

/// Sixteen rows of sixteen words become columns, a word being a pair already.
STRATA_BF16 STRATA_INLINE void pack_block(const Bf16* from, std::int64_t stride, std::int64_t columns,
                                          std::int64_t pairs, std::int64_t vectors, std::int32_t* to) {
    simd::Floats rows[width];
#pragma GCC unroll 16
    for (int c = 0; c < width; ++c) {
        rows[c] = (simd::Floats)(c < columns ? _mm512_maskz_loadu_epi32(lanes(pairs), from + c * stride)
                                             : _mm512_setzero_si512());
    }
    simd::transpose(rows);
#pragma GCC unroll 16
    for (int p = 0; p < width; ++p) {
        if (p < pairs) _mm512_store_si512(to + p * vectors * width, (__m512i)rows[p]);
    }
}

STRATA_BF16 STRATA_INLINE void pack_transposed(const ProductRight& right, std::int64_t column, std::int64_t columns,
                                               std::int64_t inner, std::int64_t vectors, std::int32_t* to) {
    const std::int64_t pairs = pairs_of(inner);
    for (std::int64_t v = 0; v < vectors; ++v) {
        const std::int64_t at = v * width;
        const Bf16* const from = right.data + (column + at) * right.stride;
        for (std::int64_t p = 0; p < pairs; p += width) {
            pack_block(from + 2 * p, right.stride, columns - at, pairs - p, vectors, to + (p * vectors + v) * width);
        }
    }
}

/// A panel's columns of B.
struct Columns {
    std::int64_t first, count;
};

Columns columns_of(const Product& product, std::int64_t panel) {
    const std::int64_t most = panel_columns(product), first = panel * most;
    return {first, std::min(product.columns - first, most)};
}

/// Where a panel's columns of a term's B lie: rows of `bytes`, `stride` bytes apart.
struct Source {
    const char* row;
    std::int64_t rows, bytes, stride;
};

Source source_of(const Product& product, const ProductTerm& term, std::int64_t panel) {
    const auto [column, columns] = columns_of(product, panel);
    const std::int64_t element = sizeof(Bf16), stride = term.right.stride;
    const auto at = [&](std::int64_t offset) { return reinterpret_cast<const char*>(term.right.data + offset); };
    if (term.right.transposed) return {at(column * stride), columns, term.inner * element, stride * element};
    return {at(column), term.inner, columns * element, stride * element};
}

/// Asks memory for what the next panel will be packed of, a share with each tile of this one: packing alone would wait
/// for it.
class NextPanel {
  public:
    NextPanel() = default;
    NextPanel(const Product& product, std::int64_t panel, std::int64_t shares) : product_(&product), panel_(panel) {
        std::int64_t lines = 0;
        for (int t = 0; t < product.term_count; ++t) {
            const Source source = source_of(product, product.terms[t], panel);
            lines += source.rows * parts_of(source.bytes, line);
        }
        share_ = parts_of(lines, shares);
        source_ = source_of(product, product.terms[0], panel);
    }

    void ask() {
        for (std::int64_t lines = share_; lines > 0 && source_.rows > 0; --lines) {
            __builtin_prefetch(source_.row + at_, /*write*/ 0, /*level 2*/ 2);
            at_ += line;
            if (at_ < source_.bytes) continue;
            at_ = 0;
            source_.row += source_.stride;
            if (--source_.rows == 0 && ++term_ < product_->term_count)
                source_ = source_of(*product_, product_->terms[term_], panel_);
        }
    }

  private:
    const Product* product_ = nullptr;
    std::int64_t panel_ = 0;
    std::int64_t share_ = 0;  // lines
    Source source_{};         // what is left of a term's
    std::int64_t at_ = 0;     // bytes, in its first row
    int term_ = 0;
};

/// The columns of B that a thread has packed, of all terms one after another.
struct Panel {
    std::int64_t column, columns, vectors;
    const std::int32_t* words;
};

STRATA_BF16 STRATA_INLINE Panel pack_panel(const Product& product, std::int64_t index, std::int32_t* words) {
    const auto [column, columns] = columns_of(product, index);
    const Panel panel{column, columns, parts_of(columns, width), words};
    for (int t = 0; t < product.term_count; ++t) {
        const ProductTerm& term = product.terms[t];
        if (term.right.transposed) {
            pack_transposed(term.right, column, columns, term.inner, panel.vectors, words);
        } else {
            pack_rows(term.right, column, columns, term.inner, panel.vectors, words);
        }
        words += pairs_of(term.inner) * panel.vectors * width;
    }
    return panel;
}

// ---- multiplying ----

/// sums[R rows][V * 16 columns] += A B
template <int R, int V>
STRATA_BF16 STRATA_INLINE void multiply(const ProductLeft& left, std::int64_t row, const std::int32_t* words,
                                        std::int64_t pairs, __m512 (&sums)[R][V]) {
    const Bf16* const first = left.data + row / tile_rows * left.eight_rows + row % tile_rows * left.row;
    for (std::int64_t p = 0; p < pairs; ++p) {
        __m512bh right[V];
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) right[v] = (__m512bh)_mm512_load_si512(words + (p * V + v) * width);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            std::int32_t pair;
            std::memcpy(&pair, first + r * left.row + p * left.pair, sizeof(pair));
            const auto factor = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, right[v]);
        }
    }
}

STRATA_BF16 STRATA_INLINE __m512 widened(const Bf16* from, __mmask16 mask) {
    return (__m512)_mm512_slli_epi32(words_of(from, mask), 16);
}

STRATA_BF16 STRATA_INLINE void put(const Product& product, std::int64_t at, __m512 sum, __mmask16 mask) {
    if (product.out != nullptr) {
        if (product.adds) sum = _mm512_add_ps(sum, widened(product.out + at, mask));
        _mm256_mask_storeu_epi16(product.out + at, mask, (__m256i)_mm512_cvtneps_pbh(sum));
    } else {
        if (product.adds) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, product.wide_out + at));
        _mm512_mask_storeu_ps(product.wide_out + at, mask, sum);
    }
}

/// Asks for what a tile will be added to, which it needs in the end.
STRATA_INLINE void ask_for_sums(const Product& product, std::int64_t at, std::int64_t rows, std::int64_t columns) {
    const std::int64_t element = product.out != nullptr ? sizeof(Bf16) : sizeof(float);
    const char* row = product.out != nullptr ? reinterpret_cast<const char*>(product.out + at)
                                             : reinterpret_cast<const char*>(product.wide_out + at);
    for (std::int64_t r = 0; r < rows; ++r, row += product.out_stride * element) {
        for (std::int64_t b = 0; b < columns * element; b += line) __builtin_prefetch(row + b, /*write*/ 1);
    }
}

template <int R, int V>
STRATA_BF16 void tile(const Product& product, std::int64_t row, const Panel& panel) {
    if (product.adds) ask_for_sums(product, row * product.out_stride + panel.column, R, panel.columns);
    __mmask16 masks[V];
    __m512 sums[R][V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
        masks[v] = lanes(panel.columns - v * width);
        const __m512 start =
            product.bias == nullptr ? _mm512_setzero_ps() : widened(product.bias + panel.column + v * width, masks[v]);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sums[r][v] = start;
    }
    const std::int32_t* words = panel.words;
    for (int t = 0; t < product.term_count; ++t) {
        const ProductTerm& term = product.terms[t];
        multiply<R, V>(term.left, row, words, pairs_of(term.inner), sums);
        words += pairs_of(term.inner) * V * width;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        const std::int64_t at = (row + r) * product.out_stride + panel.column;
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) put(product, at + v * width, sums[r][v], masks[v]);
    }
}

/// Rows begin .. end, where begin is a multiple of tile_rows.
template <int V>
STRATA_BF16 STRATA_INLINE void rows_against(const Product& product, const Panel& panel, std::int64_t begin,
                                            std::int64_t end, NextPanel& next) {
    std::int64_t row = begin;
    for (; row + tile_rows <= end; row += tile_rows) {
        tile<tile_rows, V>(product, row, panel);
        next.ask();
    }
    if (row + 4 <= end) {
        tile<4, V>(product, row, panel);
        row += 4;
    }
    if (row + 2 <= end) {
        tile<2, V>(product, row, panel);
        row += 2;
    }
    if (row < end) tile<1, V>(product, row, panel);
}

}  // namespace

bool product_kernel_can() {
    return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("amx-bf16") == 0;
}

STRATA_BF16 void pack_left(const Bf16* from, std::int64_t stride, std::int64_t rows, std::int64_t inner, Bf16* to,
                           std::int64_t first_part, std::int64_t last_part) {
    for (std::int64_t part = first_part; part < last_part; ++part) {
        const std::int64_t column = part * tile_rows;
        const __mmask16 mask = lanes(std::min(rows - column, tile_rows));
        Bf16* words = to + part * tile_rows * 2 * pairs_of(inner);
        for (std::int64_t k = 0; k < inner; k += 2) {
            const Bf16* const row = from + k * stride + column;
            const __m512i pairs = pairs_of_rows(row, k + 1 < inner ? row + stride : nullptr, mask);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm512_castsi512_si256(pairs));
            words += tile_rows * 2;
        }
    }
}

STRATA_BF16 void run_product(const Product& product, std::int64_t first_part, std::int64_t last_part,
                             std::int32_t* scratch) {
    const std::int64_t parts_a_panel = parts_of(product.rows, part_rows);
    std::int64_t packed = -1;
    Panel panel{};
    NextPanel next;
    for (std::int64_t part = first_part; part < last_part; ++part) {
        if (part / parts_a_panel != packed) {
            packed = part / parts_a_panel;
            panel = pack_panel(product, packed, scratch);
            const bool is_last = packed == (last_part - 1) / parts_a_panel;
            next = is_last ? NextPanel() : NextPanel(product, packed + 1, parts_of(product.rows, tile_rows));
        }
        const std::int64_t begin = part % parts_a_panel * part_rows;
        const std::int64_t end = std::min(begin + part_rows, product.rows);
        if (panel.vectors == 3) {
            rows_against<3>(product, panel, begin, end, next);
        } else if (panel.vectors == 2) {
            rows_against<2>(product, panel, begin, end, next);
        } else {
            rows_against<1>(product, panel, begin, end, next);
        }
    }
}

#else

bool product_kernel_can() {
    return false;
}

void pack_left(const Bf16*, std::int64_t, std::int64_t, std::int64_t, Bf16*, std::int64_t, std::int64_t) {
    std::abort();
}

void run_product(const Product&, std::int64_t, std::int64_t, std::int32_t*) {
    std::abort();
}

#endif

}  // namespace strata::models
