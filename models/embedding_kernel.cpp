#include "models/embedding_kernel.h"

#include "models/simd.h"

namespace strata::models {
namespace {

using simd::Floats;

template <typename T>
STRATA_INLINE void add(const T* word, const T* type, const T* position, T* out, std::int64_t n) {
    simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats both = simd::load_some(word + i, count) + simd::load_some(type + i, count);
        simd::store_some(out + i, both + simd::load_some(position + i, count), count);
    });
}

template <typename T, typename To>
STRATA_INLINE void scatter(const T* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count, To* to,
                           std::int64_t begin, std::int64_t end) {
    simd::for_each_sixteen(end - begin, [&](std::int64_t i, auto lanes) STRATA_INLINED {
        const std::int64_t c = begin + i;
        Floats sum{};
        for (std::int64_t t = 0; t < count; ++t) sum += simd::load_some(grad + tokens[t] * width + c, lanes);
        simd::store_some(to + c, simd::load_some(to + c, lanes) + sum, lanes);
    });
}

}  // namespace

STRATA_CLONES void embedding_row(const float* word, const float* type, const float* position, float* out,
                                 std::int64_t n) {
    add(word, type, position, out, n);
}

STRATA_CLONES void embedding_row(const Bf16* word, const Bf16* type, const Bf16* position, Bf16* out, std::int64_t n) {
    add(word, type, position, out, n);
}

STRATA_CLONES void scatter_row(const float* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count,
                               float* to, std::int64_t begin, std::int64_t end) {
    scatter(grad, width, tokens, count, to, begin, end);
}

STRATA_CLONES void scatter_row(const Bf16* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count,
                               Bf16* to, std::int64_t begin, std::int64_t end) {
    scatter(grad, width, tokens, count, to, begin, end);
}

STRATA_CLONES void scatter_row(const Bf16* grad, std::int64_t width, const std::int64_t* tokens, std::int64_t count,
                               float* to, std::int64_t begin, std::int64_t end) {
    scatter(grad, width, tokens, count, to, begin, end);
}

}  // namespace strata::models
