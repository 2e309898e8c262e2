// The body of the fused update's kernel, as a function of (block, thread, tables) for host and device. fused_update.cu
// calls it from a __global__ function; a test walks a whole grid with it on the host, under sanitizers too, so index
// arithmetic, tails and alignment are tested where there is no GPU.
//
// Blocks stride over tiles of kernel_tile elements. Tiles are laid out in aligned coordinates: a span whose first
// element is the k-th of its 16-byte quad starts at coordinate k. So all but a span's first and last quads are whole
// and aligned, and move in one 16-byte load or store for each tensor.
#pragma once

#include "optim/fused_update.h"
#include "optim/host_device.h"

#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim {

inline constexpr std::int64_t kernel_tile = 4096;  // elements
inline constexpr int kernel_threads = 256;         // four quads of a tile each

/// What one launch reads. Plain pointers: host memory for the walk, device memory for the launch.
struct UpdateTables {
    const UpdateSpan* spans = nullptr;
    const std::int64_t* first_tiles = nullptr;  // span_count + 1: the first tile of each span, then the number of tiles
    const GroupHyper* hypers = nullptr;
    const UpdateControl* control = nullptr;
    std::int64_t span_count = 0;
    std::int64_t tile_count = 0;
};

/// Elements by which an address lies past a 16-byte border.
STRATA_HOST_DEVICE std::int64_t quad_phase(const float* address) {
    return static_cast<std::int64_t>((reinterpret_cast<std::uintptr_t>(address) / sizeof(float)) & 3U);
}

/// first_tiles for these spans. Addresses matter, through their alignment, but are not read.
std::vector<std::int64_t> first_tiles(std::span<const UpdateSpan> spans);

namespace kernel {

struct alignas(16) Quad {
    float lane[4];
};

// One 16-byte access each. On the host a copy, since a cast would alias floats as Quads; sanitizers check its
// alignment.
STRATA_HOST_DEVICE Quad load(const float* address) {
#if defined(__CUDA_ARCH__)
    const float4 quad = *reinterpret_cast<const float4*>(address);
    return {{quad.x, quad.y, quad.z, quad.w}};
#else
    Quad quad;
    __builtin_memcpy(&quad, __builtin_assume_aligned(address, 16), sizeof(Quad));
    return quad;
#endif
}
STRATA_HOST_DEVICE void store(float* address, const Quad& quad) {
#if defined(__CUDA_ARCH__)
    *reinterpret_cast<float4*>(address) = make_float4(quad.lane[0], quad.lane[1], quad.lane[2], quad.lane[3]);
#else
    __builtin_memcpy(__builtin_assume_aligned(address, 16), &quad, sizeof(Quad));
#endif
}

/// The last span whose first tile is not past `tile`.
STRATA_HOST_DEVICE std::int64_t span_of_tile(const UpdateTables& tables, std::int64_t tile) {
    std::int64_t low = 0;
    std::int64_t high = tables.span_count - 1;
    while (low < high) {
        const std::int64_t middle = (low + high + 1) / 2;
        if (tables.first_tiles[middle] <= tile) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/// True when all the span's tensors lie at the same place in their quads. Otherwise elements move one by one.
STRATA_HOST_DEVICE bool in_phase(const UpdateSpan& span) {
    const std::int64_t phase = quad_phase(span.param);
    return quad_phase(span.grad) == phase && (span.exp_avg == nullptr || quad_phase(span.exp_avg) == phase) &&
           (span.exp_avg_sq == nullptr || quad_phase(span.exp_avg_sq) == phase);
}

template <OptimizerKind kind>
STRATA_HOST_DEVICE void update_element(const UpdateSpan& span, const GroupHyper& hyper, float grad_scale,
                                       std::int64_t i) {
    const float grad = span.grad[i] * grad_scale;
    if constexpr (kind == OptimizerKind::adamw) {
        adamw_update(span.param[i], grad, span.exp_avg[i], span.exp_avg_sq[i], hyper, span.decays);
    } else {
        sgd_update(span.param[i], grad, span.exp_avg == nullptr ? nullptr : span.exp_avg + i, hyper, span.decays);
    }
}

template <OptimizerKind kind>
STRATA_HOST_DEVICE void update_quad(const UpdateSpan& span, const GroupHyper& hyper, float grad_scale, std::int64_t i) {
    Quad param = load(span.param + i);
    const Quad grad = load(span.grad + i);
    const bool has_first = kind == OptimizerKind::adamw || hyper.momentum != 0.0F;
    Quad first{};
    Quad second{};
    if (has_first) first = load(span.exp_avg + i);
    if constexpr (kind == OptimizerKind::adamw) second = load(span.exp_avg_sq + i);
    for (int k = 0; k < 4; ++k) {
        const float scaled = grad.lane[k] * grad_scale;
        if constexpr (kind == OptimizerKind::adamw) {
            adamw_update(param.lane[k], scaled, first.lane[k], second.lane[k], hyper, span.decays);
        } else {
            sgd_update(param.lane[k], scaled, &first.lane[k], hyper, span.decays);
        }
    }
    store(span.param + i, param);
    if (has_first) store(span.exp_avg + i, first);
    if constexpr (kind == OptimizerKind::adamw) store(span.exp_avg_sq + i, second);
}

/// One thread's quads of one tile of a span; `tile` counts from the span's first.
template <OptimizerKind kind>
STRATA_HOST_DEVICE void update_tile(const UpdateSpan& span, const GroupHyper& hyper, float grad_scale,
                                    std::int64_t tile, int thread, int threads) {
    const std::int64_t phase = quad_phase(span.param);
    const bool aligned = in_phase(span);
    for (std::int64_t at = std::int64_t{4} * thread; at < kernel_tile; at += std::int64_t{4} * threads) {
        const std::int64_t begin = tile * kernel_tile + at - phase;  // element of the span; below 0 in its first quad
        if (begin >= span.elements) return;
        if (aligned && begin >= 0 && begin + 4 <= span.elements) {
            update_quad<kind>(span, hyper, grad_scale, begin);
            continue;
        }
        for (std::int64_t i = begin; i < begin + 4; ++i) {
            if (i >= 0 && i < span.elements) update_element<kind>(span, hyper, grad_scale, i);
        }
    }
}

}  // namespace kernel

/// The whole work of one thread: `block` of `blocks`, `thread` of `threads` in it.
template <OptimizerKind kind>
STRATA_HOST_DEVICE void fused_update_body(const UpdateTables& tables, std::int64_t block, std::int64_t blocks,
                                          int thread, int threads) {
    const UpdateControl control = *tables.control;
    if (!control.finite) return;
    for (std::int64_t tile = block; tile < tables.tile_count; tile += blocks) {
        const std::int64_t s = kernel::span_of_tile(tables, tile);
        const UpdateSpan span = tables.spans[s];
        const GroupHyper hyper = tables.hypers[span.group];
        kernel::update_tile<kind>(span, hyper, control.grad_scale, tile - tables.first_tiles[s], thread, threads);
    }
}

}  // namespace strata::optim
