#include "models/tile_products.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "models/product_packing.h"
#include "models/vector_products.h"

// As STRATA_BF16, with tiles.
#define STRATA_TILES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

namespace strata::models {
namespace {

using namespace packing;

// A tile: 16 rows of 64 bytes, which are 32 elements of one of A's rows, 16 pairs of B's columns or 16 sums. Pairs of
// tiles lie together in memory: a square of 32 of A's rows or of B's columns, by 32 of the inner dimension.
constexpr std::int64_t side = 16;
constexpr std::int64_t tile_words = side * width;
constexpr std::int64_t square = 2 * side;
constexpr std::int64_t square_words = 2 * tile_words;
constexpr std::int64_t part_rows = 2 * square;
constexpr std::int64_t most_squares = 256;  // of a panel: a quarter of the level 2 cache of processors that have tiles
constexpr std::int64_t most_columns = 8;    // of squares, in a panel

constexpr std::int64_t squares_of(std::int64_t n) {
    return parts_of(n, square);
}

std::int64_t squares_along(const Product& product) {
    std::int64_t squares = 0;
    for (int t = 0; t < product.term_count; ++t) squares += squares_of(product.terms[t].inner);
    return squares;
}

/// The longer the columns, the fewer.
Panels panels_of(const Product& product) {
    const std::int64_t columns = std::clamp<std::int64_t>(most_squares / squares_along(product), 1, most_columns);
    return {product, columns * square, square, part_rows};
}

/// What a thread works in, `along` being the squares of all terms: 32 rows of A [along], their sums by 32 columns, and
/// the panel [squares side by side][along].
struct Room {
    Room(std::int32_t* scratch, std::int64_t its_along)
        : along(its_along),
          left(scratch),
          sums(reinterpret_cast<float*>(left + along * square_words)),
          panel(left + (along + 2) * square_words) {}
    /// Enough for as many squares and for fewer.
    static std::int64_t words(std::int64_t along) {
        return (along + 2 + std::min(most_columns * along, std::max(most_squares, along))) * square_words;
    }

    std::int64_t along;
    std::int32_t* left;
    float* sums;  // [2][2] tiles
    std::int32_t* panel;
};

// ---- packing ----

/// 32 columns of B's rows: [squares][2][16] rows of 16 pairs.
STRATA_TILES STRATA_INLINE void pack_rows(const ProductTerm& term, std::int64_t column, std::int64_t columns,
                                          std::int32_t* to) {
    for (std::int64_t pair = 0; pair < squares_of(term.inner) * side; ++pair) {
        const std::int64_t k = 2 * pair;
        const Bf16* const row = term.right.data + k * term.right.stride + column;
        const Bf16* const next = k + 1 < term.inner ? row + term.right.stride : nullptr;
        std::int32_t* const first = to + pair / side * square_words + pair % side * width;
        for (std::int64_t v = 0; v < 2; ++v) {
            const std::int64_t at = v * width;
            const __mmask16 mask = k < term.inner ? lanes(columns - at) : __mmask16(0);
            _mm512_store_si512(first + v * tile_words,
                               pairs_of_rows(row + at, next == nullptr ? nullptr : next + at, mask));
        }
    }
}

STRATA_TILES STRATA_INLINE void store_tile(const simd::Floats (&rows)[width], std::int32_t* to) {
#pragma GCC unroll 16
    for (int r = 0; r < width; ++r) _mm512_storeu_si512(to + r * width, (__m512i)rows[r]);
}

/// The same of a B that lies transposed.
STRATA_TILES STRATA_INLINE void pack_transposed(const ProductTerm& term, std::int64_t column, std::int64_t columns,
                                                std::int32_t* to) {
    const std::int64_t pairs = pairs_of(term.inner), stride = term.right.stride;
    for (std::int64_t v = 0; v < 2; ++v) {
        const Bf16* const from = term.right.data + (column + v * width) * stride;
        for (std::int64_t p = 0; p < pairs; p += side) {
            simd::Floats rows[width];
            transpose_pairs(from + 2 * p, stride, columns - v * width, pairs - p, rows);
            store_tile(rows, to + p / side * square_words + v * tile_words);
        }
    }
}

STRATA_TILES STRATA_INLINE void pack_panel(const Product& product, Columns columns, const Room& room) {
    std::int32_t* to = room.panel;
    for (std::int64_t at = 0; at < columns.count; at += square) {
        for (int t = 0; t < product.term_count; ++t) {
            const ProductTerm& term = product.terms[t];
            if (term.right.transposed) {
                pack_transposed(term, columns.first + at, columns.count - at, to);
            } else {
                pack_rows(term, columns.first + at, columns.count - at, to);
            }
            to += squares_of(term.inner) * square_words;
        }
    }
}

/// Up to 32 rows of A, of which tiles beyond the last stay as they are.
STRATA_TILES STRATA_INLINE void copy_rows(const ProductTerm& term, std::int64_t row, std::int64_t rows,
                                          std::int32_t* to) {
    const std::int64_t pairs = pairs_of(term.inner), squares = squares_of(term.inner);
    for (std::int64_t r = 0; r < parts_of(rows, side) * side; ++r) {
        const Bf16* const from = term.left.data + (row + r) * term.left.stride;
        for (std::int64_t s = 0; s < squares; ++s) {
            const __mmask16 mask = r < rows ? lanes(pairs - s * side) : __mmask16(0);
            _mm512_store_si512(to + s * square_words + r * width, _mm512_maskz_loadu_epi32(mask, from + s * square));
        }
    }
}

// ---- multiplying ----

/// Tiles 0 to 3, [R][C], = A B, or += it.
template <int R, int C>
STRATA_TILES STRATA_INLINE void multiply(const std::int32_t* left, const std::int32_t* right, std::int64_t squares) {
    constexpr int stride = width * sizeof(std::int32_t);
    for (std::int64_t s = 0; s < squares; ++s, left += square_words, right += square_words) {
        _tile_loadd(4, left, stride);
        _tile_loadd(6, right, stride);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (C == 2) {
            _tile_loadd(7, right + tile_words, stride);
            _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (R == 2) {
            _tile_loadd(5, left + tile_words, stride);
            _tile_dpbf16ps(2, 5, 6);
        }
        if constexpr (R == 2 && C == 2) _tile_dpbf16ps(3, 5, 7);
    }
}

/// Sums of up to 32 rows from `row` on by a panel's columns of the square that begins at `right`.
template <int R, int C>
STRATA_TILES void sum_square(const Product& product, std::int64_t row, const Room& room, const std::int32_t* right) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const std::int32_t* copied = room.left;
    for (int t = 0; t < product.term_count; ++t) {
        const ProductTerm& term = product.terms[t];
        const std::int64_t squares = squares_of(term.inner);
        if (term.left.packed) {
            const auto* const packed = reinterpret_cast<const std::int32_t*>(term.left.data);
            multiply<R, C>(packed + row / square * squares * square_words, right, squares);
        } else {
            multiply<R, C>(copied, right, squares);
            copied += squares * square_words;
        }
        right += squares * square_words;
    }
    constexpr int stride = width * sizeof(float);
    _tile_stored(0, room.sums, stride);
    if constexpr (C == 2) _tile_stored(1, room.sums + tile_words, stride);
    if constexpr (R == 2) _tile_stored(2, room.sums + 2 * tile_words, stride);
    if constexpr (R == 2 && C == 2) _tile_stored(3, room.sums + 3 * tile_words, stride);
}

/// The sums of a square to where they belong.
STRATA_TILES STRATA_INLINE void put_square(const Product& product, const float* sums, std::int64_t row,
                                           std::int64_t rows, Columns columns) {
    for (std::int64_t at = 0; at < columns.count; at += width) {
        const std::int64_t column = columns.first + at;
        const __mmask16 mask = lanes(columns.count - at);
        const __m512 bias = product.bias == nullptr ? _mm512_setzero_ps() : widened(product.bias + column, mask);
        for (std::int64_t r = 0; r < rows; ++r) {
            const float* const sum = sums + (r / side * 2 + at / width) * tile_words + r % side * width;
            put(product, (row + r) * product.out_stride + column, _mm512_add_ps(_mm512_load_ps(sum), bias), mask);
        }
    }
}

/// Up to 32 rows by a panel's columns.
STRATA_TILES STRATA_INLINE void rows_against(const Product& product, std::int64_t row, std::int64_t rows,
                                             Columns columns, const Room& room) {
    std::int32_t* to = room.left;
    for (int t = 0; t < product.term_count; ++t) {
        if (product.terms[t].left.packed) continue;
        copy_rows(product.terms[t], row, rows, to);
        to += squares_of(product.terms[t].inner) * square_words;
    }
    // Tiles are loaded by instructions of which the compiler does not know that they read memory.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const std::int32_t* right = room.panel;
    for (std::int64_t at = 0; at < columns.count; at += square, right += room.along * square_words) {
        const Columns some{columns.first + at, std::min(columns.count - at, square)};
        if (product.adds) ask_for_sums(product, row * product.out_stride + some.first, rows, some.count);
        if (rows > side) {
            some.count > side ? sum_square<2, 2>(product, row, room, right)
                              : sum_square<2, 1>(product, row, room, right);
        } else {
            some.count > side ? sum_square<1, 2>(product, row, room, right)
                              : sum_square<1, 1>(product, row, room, right);
        }
        put_square(product, room.sums, row, rows, some);
    }
}

/// What LDTILECFG reads: all tiles are whole. Constant, since the compiler knows of its first word alone that it is
/// read.
struct alignas(64) Configuration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(Configuration) == 64);
constexpr Configuration configuration;

class TileProducts final : public ProductKernel {
  public:
    std::int64_t packed_left_size(std::int64_t rows, std::int64_t inner) const override {
        return squares_of(rows) * squares_of(inner) * square_words * 2;
    }

    std::int64_t packed_left_parts(std::int64_t rows) const override { return squares_of(rows); }

    /// 32 rows at a time, as copy_rows() lays them out.
    STRATA_TILES void pack_left(const Bf16* from, std::int64_t stride, std::int64_t rows, std::int64_t inner, Bf16* to,
                                std::int64_t first_part, std::int64_t last_part) const override {
        auto* const words = reinterpret_cast<std::int32_t*>(to);
        for (std::int64_t part = first_part; part < last_part; ++part) {
            for (std::int64_t s = 0; s < squares_of(inner); ++s) {
                std::int32_t* const at = words + (part * squares_of(inner) + s) * square_words;
                for (std::int64_t v = 0; v < 2; ++v) {
                    const std::int64_t column = part * square + v * side;
                    pack_tile(from + column, stride, rows - column, inner, s * square, at + v * tile_words);
                }
            }
        }
    }

    std::int64_t parts(const Product& product) const override { return panels_of(product).parts(); }

    std::int64_t scratch(std::int64_t inner) const override {
        return Room::words(squares_of(inner) + Product::most_terms - 1);
    }

    STRATA_TILES void run(const Product& product, std::int64_t first_part, std::int64_t last_part,
                          std::int32_t* scratch) const override {
        const Panels panels = panels_of(product);
        const Room room(scratch, squares_along(product));
        _tile_loadconfig(&configuration);
        std::int64_t packed = -1;
        NextPanel next;
        for (std::int64_t part = first_part; part < last_part; ++part) {
            if (panels.panel_of(part) != packed) {
                packed = panels.panel_of(part);
                pack_panel(product, panels[packed], room);
                next = NextPanel(panels, packed, panels.panel_of(last_part - 1), square);
            }
            const std::int64_t end = panels.end_row(part);
            for (std::int64_t row = panels.first_row(part); row < end; row += square) {
                rows_against(product, row, std::min(end - row, square), panels[packed], room);
                next.ask();
            }
        }
        _tile_release();
    }

  private:
    /// 16 columns from `from` on, of which some are there, by 32 rows from `k` on, become 16 rows of A.
    STRATA_TILES STRATA_INLINE static void pack_tile(const Bf16* from, std::int64_t stride, std::int64_t there,
                                                     std::int64_t inner, std::int64_t k, std::int32_t* to) {
        simd::Floats rows[width];
#pragma GCC unroll 16
        for (std::int64_t p = 0; p < width; ++p) {
            const std::int64_t at = k + 2 * p;
            const Bf16* const row = from + at * stride;
            rows[p] = (simd::Floats)pairs_of_rows(row, at + 1 < inner ? row + stride : nullptr,
                                                  at < inner ? lanes(there) : __mmask16(0));
        }
        simd::transpose(rows);
        store_tile(rows, to);
    }
};

/// By CPUID's leaf 7: AMX-BF16 and AMX-TILE. Whether the system keeps their registers, granted() says.
bool has_tiles() {
    unsigned int a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1U) != 0 && (d >> 24 & 1U) != 0;
}

/// Asks Linux for the tiles' registers (Documentation/arch/x86/xstate.rst).
bool granted() {
    constexpr long request = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long tile_data = 18;    // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request, tile_data) == 0;
}

}  // namespace

const ProductKernel* tile_products_unasked() {
    static const TileProducts kernel;
    return &kernel;
}

const ProductKernel* tile_products() {
    static const bool runs = vector_products() != nullptr && has_tiles() && granted();
    return runs ? tile_products_unasked() : nullptr;
}

}  // namespace strata::models

#else

namespace strata::models {

const ProductKernel* tile_products_unasked() {
    return nullptr;
}

const ProductKernel* tile_products() {
    return nullptr;
}

}  // namespace strata::models

#endif
