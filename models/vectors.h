// What a GPU kernel reads and writes at once: 16 bytes of neighbouring elements where everything is aligned to them,
// else one element. Arithmetic is in floats. For host and device, no torch.
#pragma once

#include <cstdint>

#include "models/bf16.h"
#include "optim/compute_type.h"
#include "optim/host_device.h"

namespace strata::models {

STRATA_HOST_DEVICE float widen(float x) {
    return x;
}
STRATA_HOST_DEVICE float widen(Bf16 x) {
    return optim::bf16_to_float(x.bits);
}
STRATA_HOST_DEVICE float widen(Fp16 x) {
    return optim::fp16_to_float(x.bits);
}

/// Rounds to nearest, ties to even.
STRATA_HOST_DEVICE void narrow(float x, float& to) {
    to = x;
}
STRATA_HOST_DEVICE void narrow(float x, Bf16& to) {
    to.bits = optim::float_to_bf16(x);
}
STRATA_HOST_DEVICE void narrow(float x, Fp16& to) {
    to.bits = optim::float_to_fp16(x);
}

/// Elements of T in 16 bytes.
template <typename T>
inline constexpr int full_vector = static_cast<int>(16 / sizeof(T));

/// As it lies in memory.
template <typename T, int size>
struct alignas(sizeof(T) * size) Vector {
    T lane[size];
};

/// On the host; on a GPU the access itself stops the program.
template <typename Vector>
STRATA_HOST_DEVICE void check_alignment([[maybe_unused]] const void* address) {
#if !defined(__CUDA_ARCH__)
    if (reinterpret_cast<std::uintptr_t>(address) % alignof(Vector) != 0) __builtin_trap();
#endif
}

/// One access; `from` is aligned to the vector. On the host a copy, whose alignment is checked.
template <int size, typename T>
STRATA_HOST_DEVICE Vector<T, size> load(const T* from) {
    Vector<T, size> vector;
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(vector) == 16) {
        const uint4 bits = *reinterpret_cast<const uint4*>(from);
        __builtin_memcpy(&vector, &bits, sizeof(vector));
    } else {
        static_assert(size == 1);
        vector.lane[0] = *from;
    }
#else
    check_alignment<Vector<T, size> >(from);
    __builtin_memcpy(&vector, from, sizeof(vector));
#endif
    return vector;
}

template <int size, typename T>
STRATA_HOST_DEVICE void store(T* to, const Vector<T, size>& vector) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(vector) == 16) {
        uint4 bits;
        __builtin_memcpy(&bits, &vector, sizeof(vector));
        *reinterpret_cast<uint4*>(to) = bits;
    } else {
        static_assert(size == 1);
        *to = vector.lane[0];
    }
#else
    check_alignment<Vector<T, size> >(to);
    __builtin_memcpy(to, &vector, sizeof(vector));
#endif
}

inline bool aligned_to_vectors(const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

/// Whether rows of `width` elements that start at these addresses are whole, aligned vectors of 16 bytes. Null is.
template <typename T, typename... Pointers>
bool rows_are_vectors(std::int64_t width, const Pointers*... rows) {
    return width % full_vector<T> == 0 && (aligned_to_vectors(rows) && ...);
}

}  // namespace strata::models
