#include "models/activation_kernel.h"

#include "models/simd.h"

namespace strata::models {
namespace {

using simd::Floats;

/// An activation's value at x, and its slope there.
struct Point {
    Floats value, slope;
};

/// e^(z²) erfc(z) / t with t = 1 / (1 + 0.42 z), for z from 0 to 9.5: a polynomial in t by least squares, relative
/// error 3e-9. The form is that of M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 7.1.26.
STRATA_INLINE Floats scaled_erfc(Floats t) {
    Floats p = t * -0.04135754704475403F + 0.23191213607788086F;
    p = p * t - 0.48950865864753723F;
    p = p * t + 0.441009521484375F;
    p = p * t - 0.2005704939365387F;
    p = p * t + 0.21548964083194733F;
    p = p * t + 0.14942829310894012F;
    p = p * t + 0.22002674639225006F;
    p = p * t + 0.23659619688987732F;
    return p * t + 0.23697414994239807F;
}

/// Φ(x) = erfc(-x / √2) / 2; its slope is the density e^(-x²/2) / √(2π).
STRATA_INLINE Point gelu(Floats x) {
    const Floats magnitude = x < 0.0F ? -x : x;
    const Floats t = 1.0F / (magnitude * (0.42F * 0.70710678118654752F) + 1.0F);
    const Floats bell = simd::exp(x * x * -0.5F);
    const Floats tail = 0.5F * t * scaled_erfc(t) * bell;
    const Floats below = x < 0.0F ? tail : 1.0F - tail;
    return {x * below, below + x * bell * 0.39894228040143268F};
}

/// x (1 + tanh(u)) / 2 with u = √(2/π) (x + 0.044715 x³); (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)).
STRATA_INLINE Point gelu_tanh(Floats x) {
    const float twice = 2.0F * 0.79788456080286536F;
    const Floats u2 = twice * (x + 0.044715F * x * x * x);
    const Floats limited = u2 > 80.0F ? Floats{} + 80.0F : u2 < -80.0F ? Floats{} - 80.0F : u2;
    const Floats half = 1.0F / (1.0F + simd::exp(-limited));
    return {x * half, half + x * half * (1.0F - half) * twice * (1.0F + 3.0F * 0.044715F * x * x)};
}

STRATA_INLINE Point relu(Floats x) {
    return {x < 0.0F ? Floats{} : x, x > 0.0F ? Floats{} + 1.0F : Floats{}};
}

/// Calls run(f) with the activation as a function that inlines.
template <typename Run>
STRATA_INLINE void with_activation(ActivationKind kind, const Run& run) {
    if (kind == ActivationKind::gelu) {
        run([](Floats x) STRATA_INLINED { return gelu(x); });
    } else if (kind == ActivationKind::gelu_tanh) {
        run([](Floats x) STRATA_INLINED { return gelu_tanh(x); });
    } else {
        run([](Floats x) STRATA_INLINED { return relu(x); });
    }
}

template <typename T>
STRATA_INLINE void forward(ActivationKind kind, const T* x, const T* bias, T* y, std::int64_t n) {
    with_activation(kind, [&](auto f) STRATA_INLINED {
        simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
            const Floats biased = simd::load_some(x + i, count) + simd::load_some(bias + i, count);
            simd::store_some(y + i, f(biased).value, count);
        });
    });
}

template <typename T>
STRATA_INLINE void backward(ActivationKind kind, const T* grad_y, const T* x, const T* bias, T* grad_x,
                            float* bias_sums, std::int64_t n) {
    with_activation(kind, [&](auto f) STRATA_INLINED {
        simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
            const Floats biased = simd::load_some(x + i, count) + simd::load_some(bias + i, count);
            const Floats grad = simd::load_some(grad_y + i, count) * f(biased).slope;
            simd::store_some(grad_x + i, grad, count);
            simd::store_some(bias_sums + i, simd::load_some(bias_sums + i, count) + grad, count);
        });
    });
}

template <typename T, typename Sum>
STRATA_INLINE void add(const T* x, Sum* sums, std::int64_t n) {
    simd::for_each_sixteen(n, [&](std::int64_t i, auto count) STRATA_INLINED {
        simd::store_some(sums + i, simd::load_some(sums + i, count) + simd::load_some(x + i, count), count);
    });
}

}  // namespace

STRATA_CLONES void activation_row(ActivationKind kind, const float* x, const float* bias, float* y, std::int64_t n) {
    forward(kind, x, bias, y, n);
}

STRATA_CLONES void activation_row(ActivationKind kind, const Bf16* x, const Bf16* bias, Bf16* y, std::int64_t n) {
    forward(kind, x, bias, y, n);
}

STRATA_CLONES void activation_backward_row(ActivationKind kind, const float* grad_y, const float* x, const float* bias,
                                           float* grad_x, float* bias_sums, std::int64_t n) {
    backward(kind, grad_y, x, bias, grad_x, bias_sums, n);
}

STRATA_CLONES void activation_backward_row(ActivationKind kind, const Bf16* grad_y, const Bf16* x, const Bf16* bias,
                                           Bf16* grad_x, float* bias_sums, std::int64_t n) {
    backward(kind, grad_y, x, bias, grad_x, bias_sums, n);
}

STRATA_CLONES void add_row(const float* x, float* sums, std::int64_t n) {
    add(x, sums, n);
}

STRATA_CLONES void add_row(const Bf16* x, float* sums, std::int64_t n) {
    add(x, sums, n);
}

STRATA_CLONES void add_row(const float* x, Bf16* sums, std::int64_t n) {
    add(x, sums, n);
}

}  // namespace strata::models
