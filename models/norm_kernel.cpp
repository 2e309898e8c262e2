#include "models/norm_kernel.h"

#include <cmath>

#include "models/dropout_simd.h"
#include "models/simd.h"

namespace strata::models {
namespace {

using simd::Floats;

/// 1 in the lanes below `count`.
STRATA_INLINE Floats valid(std::integral_constant<std::int64_t, simd::width>) {
    return Floats{} + 1.0F;
}
STRATA_INLINE Floats valid(std::int64_t count) {
    const Floats lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lanes < static_cast<float>(count) ? Floats{} + 1.0F : Floats{};
}

template <typename T>
STRATA_INLINE Floats factors_of(const NormRow<T>& row, std::int64_t first) {
    return row.dropout == nullptr ? Floats{} + 1.0F
                                  : dropout_factors_of(*row.dropout, static_cast<std::uint32_t>(first));
}

/// Writes residual + dropout(x + bias).
template <typename T>
STRATA_INLINE void add(const NormRow<T>& row, const T* x, const T* bias, const T* residual, T* s) {
    simd::for_each_sixteen(row.width, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats biased = simd::load_some(x + i, count) + simd::load_some(bias + i, count);
        simd::store_some(s + i, simd::load_some(residual + i, count) + factors_of(row, i) * biased, count);
    });
}

/// The mean, then the deviation about it: two passes over a row that lies in the first cache lose no digits.
template <typename T>
STRATA_INLINE void measure(NormRow<T>& row, const T* s, float epsilon) {
    const auto n = static_cast<float>(row.width);
    Floats sums{};
    simd::for_each_sixteen(row.width,
                           [&](std::int64_t i, auto count) STRATA_INLINED { sums += simd::load_some(s + i, count); });
    row.mean = simd::sum_of(sums) / n;
    Floats squares{};
    simd::for_each_sixteen(row.width, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats distance = (simd::load_some(s + i, count) - row.mean) * valid(count);
        squares += distance * distance;
    });
    row.inverse_deviation = 1.0F / std::sqrt(simd::sum_of(squares) / n + epsilon);
}

template <typename T>
STRATA_INLINE void forward(NormRow<T>& row, const T* x, const T* bias, const T* residual, float epsilon, const T* gamma,
                           const T* beta, T* s, T* y) {
    if (x != nullptr) add(row, x, bias, residual, s);
    const T* sum = x != nullptr ? s : residual;
    measure(row, sum, epsilon);
    simd::for_each_sixteen(row.width, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats normal = (simd::load_some(sum + i, count) - row.mean) * row.inverse_deviation;
        simd::store_some(y + i, normal * simd::load_some(gamma + i, count) + simd::load_some(beta + i, count), count);
    });
}

template <typename Count>
STRATA_INLINE void add_to(float* sums, Floats x, Count count) {
    simd::store_some(sums, simd::load_some(sums, count) + x, count);
}

/// With n = (s - mean) / deviation and g = grad_y * gamma: ds = (g - mean(g) - n mean(g n)) / deviation.
template <typename T>
STRATA_INLINE void backward(const NormRow<T>& row, const T* grad_y, const T* s, const T* gamma, T* grad_residual,
                            T* grad_x, const NormSums& sums) {
    const auto normal_at = [&](std::int64_t i, auto count) STRATA_INLINED {
        return (simd::load_some(s + i, count) - row.mean) * row.inverse_deviation * valid(count);
    };
    Floats plain{}, weighted{};
    simd::for_each_sixteen(row.width, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats grad = simd::load_some(grad_y + i, count), normal = normal_at(i, count);
        const Floats scaled = grad * simd::load_some(gamma + i, count);
        plain += scaled;
        weighted += scaled * normal;
        add_to(sums.gamma + i, grad * normal, count);
        add_to(sums.beta + i, grad, count);
    });
    const auto n = static_cast<float>(row.width);
    const float mean = simd::sum_of(plain) / n, slope = simd::sum_of(weighted) / n;
    simd::for_each_sixteen(row.width, [&](std::int64_t i, auto count) STRATA_INLINED {
        const Floats scaled = simd::load_some(grad_y + i, count) * simd::load_some(gamma + i, count);
        const Floats grad_s = (scaled - mean - normal_at(i, count) * slope) * row.inverse_deviation;
        simd::store_some(grad_residual + i, grad_s, count);
        if (grad_x == nullptr) return;
        const Floats dropped = grad_s * factors_of(row, i);
        simd::store_some(grad_x + i, dropped, count);
        add_to(sums.bias + i, dropped, count);
    });
}

}  // namespace

STRATA_CLONES void norm_row(NormRow<float>& row, const float* x, const float* bias, const float* residual,
                            float epsilon, const float* gamma, const float* beta, float* s, float* y) {
    forward(row, x, bias, residual, epsilon, gamma, beta, s, y);
}

STRATA_CLONES void norm_row(NormRow<Bf16>& row, const Bf16* x, const Bf16* bias, const Bf16* residual, float epsilon,
                            const Bf16* gamma, const Bf16* beta, Bf16* s, Bf16* y) {
    forward(row, x, bias, residual, epsilon, gamma, beta, s, y);
}

STRATA_CLONES void norm_backward_row(const NormRow<float>& row, const float* grad_y, const float* s, const float* gamma,
                                     float* grad_residual, float* grad_x, const NormSums& sums) {
    backward(row, grad_y, s, gamma, grad_residual, grad_x, sums);
}

STRATA_CLONES void norm_backward_row(const NormRow<Bf16>& row, const Bf16* grad_y, const Bf16* s, const Bf16* gamma,
                                     Bf16* grad_residual, Bf16* grad_x, const NormSums& sums) {
    backward(row, grad_y, s, gamma, grad_residual, grad_x, sums);
}

}  // namespace strata::models
