#include "models/vector_products.h"

#if defined(__x86_64__)

#include <cstring>

#include "models/product_packing.h"

namespace strata::models {
namespace {

using namespace packing;

constexpr std::int64_t most_vectors = 3;  // of a panel
constexpr std::int64_t tile_rows = 8;
constexpr std::int64_t part_rows = 256;

Panels panels_of(const Product& product) {
    return {product, most_vectors * width, width, part_rows};
}

/// The columns of B that a thread has packed, of all terms one after another: [pairs][vectors][16] words.
struct Panel {
    std::int64_t column, columns, vectors;
    const std::int32_t* words;
};

STRATA_BF16 STRATA_INLINE void pack_rows(const ProductTerm& term, const Panel& panel, std::int32_t* to) {
    for (std::int64_t k = 0; k < term.inner; k += 2) {
        const Bf16* const row = term.right.data + k * term.right.stride + panel.column;
        const Bf16* const next = k + 1 < term.inner ? row + term.right.stride : nullptr;
        for (std::int64_t v = 0; v < panel.vectors; ++v) {
            const std::int64_t at = v * width;
            const __mmask16 mask = lanes(panel.columns - at);
            _mm512_store_si512(to, pairs_of_rows(row + at, next == nullptr ? nullptr : next + at, mask));
            to += width;
        }
    }
}

STRATA_BF16 STRATA_INLINE void pack_transposed(const ProductTerm& term, const Panel& panel, std::int32_t* to) {
    const std::int64_t pairs = pairs_of(term.inner), stride = term.right.stride;
    for (std::int64_t v = 0; v < panel.vectors; ++v) {
        const std::int64_t at = v * width;
        const Bf16* const from = term.right.data + (panel.column + at) * stride;
        for (std::int64_t p = 0; p < pairs; p += width) {
            simd::Floats rows[width];
            transpose_pairs(from + 2 * p, stride, panel.columns - at, pairs - p, rows);
            std::int32_t* const block = to + (p * panel.vectors + v) * width;
#pragma GCC unroll 16
            for (int r = 0; r < width; ++r) {
                if (r < pairs - p) _mm512_store_si512(block + r * panel.vectors * width, (__m512i)rows[r]);
            }
        }
    }
}

STRATA_BF16 STRATA_INLINE Panel pack_panel(const Product& product, Columns columns, std::int32_t* words) {
    const Panel panel{columns.first, columns.count, parts_of(columns.count, width), words};
    for (int t = 0; t < product.term_count; ++t) {
        const ProductTerm& term = product.terms[t];
        if (term.right.transposed) {
            pack_transposed(term, panel, words);
        } else {
            pack_rows(term, panel, words);
        }
        words += pairs_of(term.inner) * panel.vectors * width;
    }
    return panel;
}

/// From a row of A on. Steps in elements.
struct Left {
    Left(const ProductTerm& term, std::int64_t row)
        : step(term.left.packed ? 2 : term.left.stride), pair(term.left.packed ? tile_rows * 2 : 2) {
        const std::int64_t eight = tile_rows * (term.left.packed ? 2 * pairs_of(term.inner) : step);
        data = term.left.data + row / tile_rows * eight + row % tile_rows * step;
    }
    std::int64_t step, pair;
    const Bf16* data;
};

/// sums[R rows][V * 16 columns] += A B
template <int R, int V>
STRATA_BF16 STRATA_INLINE void multiply(const Left& left, const std::int32_t* words, std::int64_t pairs,
                                        __m512 (&sums)[R][V]) {
    for (std::int64_t p = 0; p < pairs; ++p) {
        __m512bh right[V];
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) right[v] = (__m512bh)_mm512_load_si512(words + (p * V + v) * width);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            std::int32_t pair;
            std::memcpy(&pair, left.data + r * left.step + p * left.pair, sizeof(pair));
            const auto factor = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, right[v]);
        }
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
        multiply<R, V>(Left(term, row), words, pairs_of(term.inner), sums);
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

class VectorProducts final : public ProductKernel {
  public:
    std::int64_t packed_left_size(std::int64_t rows, std::int64_t inner) const override {
        return packed_left_parts(rows) * tile_rows * 2 * pairs_of(inner);
    }

    std::int64_t packed_left_parts(std::int64_t rows) const override { return parts_of(rows, tile_rows); }

    /// Eight rows at a time: [pairs][8] words.
    STRATA_BF16 void pack_left(const Bf16* from, std::int64_t stride, std::int64_t rows, std::int64_t inner, Bf16* to,
                               std::int64_t first_part, std::int64_t last_part) const override {
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

    std::int64_t parts(const Product& product) const override { return panels_of(product).parts(); }

    std::int64_t scratch(std::int64_t inner) const override {
        return pairs_of(inner + Product::most_terms) * most_vectors * width;
    }

    STRATA_BF16 void run(const Product& product, std::int64_t first_part, std::int64_t last_part,
                         std::int32_t* scratch) const override {
        const Panels panels = panels_of(product);
        std::int64_t packed = -1;
        Panel panel{};
        NextPanel next;
        for (std::int64_t part = first_part; part < last_part; ++part) {
            if (panels.panel_of(part) != packed) {
                packed = panels.panel_of(part);
                panel = pack_panel(product, panels[packed], scratch);
                next = NextPanel(panels, packed, panels.panel_of(last_part - 1), tile_rows);
            }
            const std::int64_t begin = panels.first_row(part), end = panels.end_row(part);
            if (panel.vectors == 3) {
                rows_against<3>(product, panel, begin, end, next);
            } else if (panel.vectors == 2) {
                rows_against<2>(product, panel, begin, end, next);
            } else {
                rows_against<1>(product, panel, begin, end, next);
            }
        }
    }
};

bool can() {
    return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
}

}  // namespace

const ProductKernel* vector_products() {
    static const VectorProducts kernel;
    static const bool runs = can();
    return runs ? &kernel : nullptr;
}

}  // namespace strata::models

#else

namespace strata::models {

const ProductKernel* vector_products() {
    return nullptr;
}

}  // namespace strata::models

#endif
