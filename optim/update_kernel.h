// The bodies of the update's kernels, as functions of (tile, thread, tables) for host and device. fused_update.cu calls
// them from __global__ functions; a test walks a whole grid with them on the host, under sanitizers too, so index
// arithmetic, tails and alignment are tested where there is no GPU.
//
// Blocks stride over tiles of kernel_tile elements. Tiles are laid out in aligned coordinates: a span whose first
// element is the k-th of its 16-byte quad starts at coordinate k. So all but a span's first and last quads are whole
// and aligned, and move in one 16-byte load or store for each tensor, 8 bytes for one of 16-bit floats. What a span's
// types are is the same for all threads of a tile, so asking costs no divergence.
#pragma once

#include "optim/fused_update.h"
#include "optim/host_device.h"
#include "optim/stochastic_rounding.h"

#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim {

inline constexpr std::int64_t kernel_tile = 4096;  // elements
inline constexpr int kernel_threads = 256;         // four quads of a tile each

/// What a pass over all tiles does to them.
enum class Pass {
    adamw,
    adam,
    sgd,
    lamb_moments,  // LAMB's first phase; measures, for each tile, {squares of the parameters, of the direction}
    lamb_apply,    // its second
    square_sum     // reads gradients and measures {their squares, 0}; neither hypers nor control
};

/// Two sums over one tile, or one thread's part of them.
struct SumPair {
    double first = 0.0;
    double second = 0.0;
};

/// What one launch reads. Plain pointers: host memory for the walk, device memory for the launch.
struct UpdateTables {
    const UpdateSpan* spans = nullptr;
    const std::int64_t* first_tiles = nullptr;  // span_count + 1: the first tile of each span, then the number of tiles
    const GroupHyper* hypers = nullptr;
    const UpdateControl* control = nullptr;
    std::int64_t span_count = 0;
    std::int64_t tile_count = 0;
    SumPair* tile_sums = nullptr;         // one for each tile, written by passes that measure; updates measure
                                          // {squares of the change, of the new parameters} if this is not null
    const double* tensor_sums = nullptr;  // lamb_apply: as lamb_apply_cpu's
};

/// Elements by which an address lies past a 16-byte border.
STRATA_HOST_DEVICE std::int64_t quad_phase(const float* address) {
    return static_cast<std::int64_t>((reinterpret_cast<std::uintptr_t>(address) / sizeof(float)) & 3U);
}

STRATA_HOST_DEVICE std::int64_t quad_phase(const std::uint16_t* address) {
    return static_cast<std::int64_t>((reinterpret_cast<std::uintptr_t>(address) / sizeof(std::uint16_t)) & 3U);
}

/// Of the span's parameters.
STRATA_HOST_DEVICE std::int64_t quad_phase(const UpdateSpan& span) {
    return span.param != nullptr ? quad_phase(span.param) : quad_phase(span.rounded);
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

struct alignas(8) Quad16 {
    std::uint16_t lane[4];
};

// The same for 16-bit floats: 8 bytes.
STRATA_HOST_DEVICE Quad load16(const std::uint16_t* address, ComputeType type) {
    Quad16 quad;
#if defined(__CUDA_ARCH__)
    const uint2 bits = *reinterpret_cast<const uint2*>(address);
    __builtin_memcpy(&quad, &bits, sizeof(Quad16));
#else
    __builtin_memcpy(&quad, __builtin_assume_aligned(address, 8), sizeof(Quad16));
#endif
    return {
        {widen(quad.lane[0], type), widen(quad.lane[1], type), widen(quad.lane[2], type), widen(quad.lane[3], type)}};
}
STRATA_HOST_DEVICE void store16(std::uint16_t* address, const Quad& quad, ComputeType type) {
    const Quad16 narrowed{{narrow(quad.lane[0], type), narrow(quad.lane[1], type), narrow(quad.lane[2], type),
                           narrow(quad.lane[3], type)}};
#if defined(__CUDA_ARCH__)
    uint2 bits;
    __builtin_memcpy(&bits, &narrowed, sizeof(Quad16));
    *reinterpret_cast<uint2*>(address) = bits;
#else
    __builtin_memcpy(__builtin_assume_aligned(address, 8), &narrowed, sizeof(Quad16));
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
    const std::int64_t phase = quad_phase(span);
    const std::int64_t grad = span.grad16 != nullptr ? quad_phase(span.grad16) : quad_phase(span.grad);
    return grad == phase && (span.rounded == nullptr || quad_phase(span.rounded) == phase) &&
           (span.exp_avg == nullptr || quad_phase(span.exp_avg) == phase) &&
           (span.exp_avg_sq == nullptr || quad_phase(span.exp_avg_sq) == phase);
}

/// What one tile's threads share.
struct TileWork {
    UpdateSpan span;
    GroupHyper hyper;
    float grad_scale = 1.0F;
    float ratio = 1.0F;          // lamb_apply
    std::uint64_t rounding = 0;  // rounding_key, where the span has no masters
};

/// One element in registers; what the pass does not read stays 0.
struct Lane {
    float param = 0.0F;
    float grad = 0.0F;  // scaled
    float first = 0.0F;
    float second = 0.0F;
};

template <Pass pass>
struct Traits {
    static constexpr bool reads_param = pass != Pass::square_sum;
    static constexpr bool reads_grad = pass != Pass::lamb_apply;
    static constexpr bool has_second = pass != Pass::sgd && pass != Pass::square_sum;
    static constexpr bool writes_param = pass != Pass::square_sum && pass != Pass::lamb_moments;
    static constexpr bool writes_moments = pass != Pass::square_sum && pass != Pass::lamb_apply;
    static constexpr bool always_measures = pass == Pass::square_sum || pass == Pass::lamb_moments;

    /// SGD without momentum has no buffer.
    static STRATA_HOST_DEVICE bool has_first(const GroupHyper& hyper) {
        return has_second || (pass == Pass::sgd && hyper.momentum != 0.0F);
    }
};

/// `i`: which element of the span.
template <Pass pass>
STRATA_HOST_DEVICE void update_lane(Lane& x, const TileWork& work, std::int64_t i) {
    const bool decays = work.span.decays;
    if constexpr (pass == Pass::adamw) adamw_update(x.param, x.grad, x.first, x.second, work.hyper, decays);
    if constexpr (pass == Pass::adam) adam_update(x.param, x.grad, x.first, x.second, work.hyper, decays);
    if constexpr (pass == Pass::sgd) sgd_update(x.param, x.grad, &x.first, work.hyper, decays);
    if constexpr (pass == Pass::lamb_moments) update_moments(x.grad, x.first, x.second, work.hyper);
    if constexpr (pass == Pass::lamb_apply) lamb_apply(x.param, x.first, x.second, work.hyper, work.ratio, decays);
    if constexpr (Traits<pass>::writes_param) {
        if (work.span.param != nullptr) return;
        x.param = round_to_bf16(x.param, work.rounding, static_cast<std::uint32_t>(work.span.first + i));
    }
}

STRATA_HOST_DEVICE double square(double value) {
    return value * value;
}

template <Pass pass>
STRATA_HOST_DEVICE void measure_lane(SumPair& sums, float old_param, const Lane& x, const TileWork& work) {
    if constexpr (pass == Pass::square_sum) {
        sums.first += square(static_cast<double>(x.grad));
    } else if constexpr (pass == Pass::lamb_moments) {
        const float direction = lamb_direction(x.param, x.first, x.second, work.hyper, work.span.decays);
        sums.first += square(static_cast<double>(x.param));
        sums.second += square(static_cast<double>(direction));
    } else {
        sums.first += square(static_cast<double>(x.param) - static_cast<double>(old_param));
        sums.second += square(static_cast<double>(x.param));
    }
}

template <Pass pass, bool measure>
STRATA_HOST_DEVICE void pass_element(const TileWork& work, std::int64_t i, SumPair& sums) {
    using Is = Traits<pass>;
    const UpdateSpan& span = work.span;
    const bool has_first = Is::has_first(work.hyper);
    Lane x;
    if constexpr (Is::reads_param) {
        x.param = span.param != nullptr ? span.param[i] : widen(span.rounded[i], span.type);
    }
    if constexpr (Is::reads_grad) {
        const float grad = span.grad16 != nullptr ? widen(span.grad16[i], span.type) : span.grad[i];
        x.grad = grad * work.grad_scale;
    }
    if (has_first) x.first = span.exp_avg[i];
    if constexpr (Is::has_second) x.second = span.exp_avg_sq[i];
    const float old_param = x.param;
    update_lane<pass>(x, work, i);
    if constexpr (measure) measure_lane<pass>(sums, old_param, x, work);
    if constexpr (Is::writes_param) {
        if (span.param != nullptr) span.param[i] = x.param;
        if (span.rounded != nullptr) span.rounded[i] = narrow(x.param, span.type);
    }
    if constexpr (Is::writes_moments) {
        if (has_first) span.exp_avg[i] = x.first;
        if constexpr (Is::has_second) span.exp_avg_sq[i] = x.second;
    }
}

/// The same for four elements that lie in one quad of every tensor.
template <Pass pass, bool measure>
STRATA_HOST_DEVICE void pass_quad(const TileWork& work, std::int64_t i, SumPair& sums) {
    using Is = Traits<pass>;
    const UpdateSpan& span = work.span;
    const bool has_first = Is::has_first(work.hyper);
    Quad param{};
    Quad grad{};
    Quad first{};
    Quad second{};
    if constexpr (Is::reads_param) {
        param = span.param != nullptr ? load(span.param + i) : load16(span.rounded + i, span.type);
    }
    if constexpr (Is::reads_grad) {
        grad = span.grad16 != nullptr ? load16(span.grad16 + i, span.type) : load(span.grad + i);
    }
    if (has_first) first = load(span.exp_avg + i);
    if constexpr (Is::has_second) second = load(span.exp_avg_sq + i);
    for (int k = 0; k < 4; ++k) {
        Lane x{param.lane[k], grad.lane[k] * work.grad_scale, first.lane[k], second.lane[k]};
        const float old_param = x.param;
        update_lane<pass>(x, work, i + k);
        if constexpr (measure) measure_lane<pass>(sums, old_param, x, work);
        param.lane[k] = x.param;
        first.lane[k] = x.first;
        second.lane[k] = x.second;
    }
    if constexpr (Is::writes_param) {
        if (span.param != nullptr) store(span.param + i, param);
        if (span.rounded != nullptr) store16(span.rounded + i, param, span.type);
    }
    if constexpr (Is::writes_moments) {
        if (has_first) store(span.exp_avg + i, first);
        if constexpr (Is::has_second) store(span.exp_avg_sq + i, second);
    }
}

/// One thread's quads of one tile of a span; `tile` counts from the span's first.
template <Pass pass, bool measure>
STRATA_HOST_DEVICE SumPair pass_tile(const TileWork& work, std::int64_t tile, int thread, int threads) {
    const UpdateSpan& span = work.span;
    const std::int64_t phase = quad_phase(span);
    const bool aligned = in_phase(span);
    SumPair sums;
    for (std::int64_t at = std::int64_t{4} * thread; at < kernel_tile; at += std::int64_t{4} * threads) {
        const std::int64_t begin = tile * kernel_tile + at - phase;  // element of the span; below 0 in its first quad
        if (begin >= span.elements) break;
        if (aligned && begin >= 0 && begin + 4 <= span.elements) {
            pass_quad<pass, measure>(work, begin, sums);
            continue;
        }
        for (std::int64_t i = begin; i < begin + 4; ++i) {
            if (i >= 0 && i < span.elements) pass_element<pass, measure>(work, i, sums);
        }
    }
    return sums;
}

}  // namespace kernel

/// The work of one thread, `thread` of `threads`, on one tile, and its part of the tile's sums (zero without measure).
template <Pass pass, bool measure>
STRATA_HOST_DEVICE SumPair tile_body(const UpdateTables& tables, std::int64_t tile, int thread, int threads) {
    static_assert(measure || !kernel::Traits<pass>::always_measures);
    const std::int64_t s = kernel::span_of_tile(tables, tile);
    kernel::TileWork work{tables.spans[s], {}};
    if constexpr (pass != Pass::square_sum) {
        if (!tables.control->finite) return {};
        work.grad_scale = tables.control->grad_scale;
        work.hyper = tables.hypers[work.span.group];
        work.rounding = rounding_key(work.hyper.rounding, work.span.parameter);
    }
    if constexpr (pass == Pass::lamb_apply) {
        const double* const sums = tables.tensor_sums + 2 * static_cast<std::int64_t>(work.span.tensor);
        work.ratio = trust_ratio(sums[0], sums[1], work.span.decays);
    }
    return kernel::pass_tile<pass, measure>(work, tile - tables.first_tiles[s], thread, threads);
}

}  // namespace strata::optim
