#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/instruction_sets.h"
#include "optim/lane_sum.h"
#include "optim/span_check.h"
#include "optim/tiles.h"

#include <algorithm>
#include <vector>

namespace strata::optim {

namespace {

// The tile loops take bare pointers that never alias, so that compilers vectorise them.
STRATA_CLONES void adamw_tile(float* __restrict param, const float* __restrict grad, float* __restrict exp_avg,
                              float* __restrict exp_avg_sq, std::int64_t elements, const GroupHyper& hyper,
                              float grad_scale, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) {
        adamw_update(param[i], grad[i] * grad_scale, exp_avg[i], exp_avg_sq[i], h, decays);
    }
}

STRATA_CLONES void adam_tile(float* __restrict param, const float* __restrict grad, float* __restrict exp_avg,
                             float* __restrict exp_avg_sq, std::int64_t elements, const GroupHyper& hyper,
                             float grad_scale, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) {
        adam_update(param[i], grad[i] * grad_scale, exp_avg[i], exp_avg_sq[i], h, decays);
    }
}

STRATA_CLONES void lamb_apply_tile(float* __restrict param, const float* __restrict exp_avg,
                                   const float* __restrict exp_avg_sq, std::int64_t elements, const GroupHyper& hyper,
                                   float ratio, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) lamb_apply(param[i], exp_avg[i], exp_avg_sq[i], h, ratio, decays);
}

STRATA_CLONES void momentum_tile(float* __restrict param, const float* __restrict grad, float* __restrict buffer,
                                 std::int64_t elements, const GroupHyper& hyper, float grad_scale, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) {
        sgd_update(param[i], grad[i] * grad_scale, buffer + i, h, decays);
    }
}

STRATA_CLONES void plain_sgd_tile(float* __restrict param, const float* __restrict grad, std::int64_t elements,
                                  const GroupHyper& hyper, float grad_scale, bool decays) {
    const GroupHyper h = hyper;
    for (std::int64_t i = 0; i < elements; ++i) sgd_update(param[i], grad[i] * grad_scale, nullptr, h, decays);
}

STRATA_CLONES void add_telemetry(LaneSum& updates, LaneSum& weights, const float* old_param, const float* param,
                                 std::int64_t elements) {
    updates.add(
        elements, [=](std::int64_t i) __attribute__((always_inline)) {
            const double change = static_cast<double>(param[i]) - static_cast<double>(old_param[i]);
            return change * change;
        });
    weights.add(
        elements, [=](std::int64_t i) __attribute__((always_inline)) {
            const auto weight = static_cast<double>(param[i]);
            return weight * weight;
        });
}

struct Work {
    OptimizerKind kind;
    std::span<const UpdateSpan> spans;
    std::span<const GroupHyper> hypers;
    UpdateControl control;
    std::span<const double> tensor_sums = {};  // lamb
};

void sgd_range(const UpdateSpan& span, const GroupHyper& hyper, float grad_scale, const float* grad, std::int64_t begin,
               std::int64_t elements) {
    if (hyper.momentum != 0.0F) {
        momentum_tile(span.param + begin, grad, span.exp_avg + begin, elements, hyper, grad_scale, span.decays);
    } else {
        plain_sgd_tile(span.param + begin, grad, elements, hyper, grad_scale, span.decays);
    }
}

/// `grad` is of the range's first element on; the rest of the span counts from its own.
void update_fp32(const Work& work, const UpdateSpan& span, const float* grad, std::int64_t begin, std::int64_t end) {
    const GroupHyper& hyper = work.hypers[static_cast<std::size_t>(span.group)];
    const float scale = work.control.grad_scale;
    const std::int64_t elements = end - begin;
    switch (work.kind) {
        case OptimizerKind::adamw:
            return adamw_tile(span.param + begin, grad, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper,
                              scale, span.decays);
        case OptimizerKind::adam:
            return adam_tile(span.param + begin, grad, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper,
                             scale, span.decays);
        case OptimizerKind::sgd:
            return sgd_range(span, hyper, scale, grad, begin, elements);
        case OptimizerKind::lamb:
            break;
    }
    const auto tensor = static_cast<std::size_t>(span.tensor);
    const float ratio = trust_ratio(work.tensor_sums[2 * tensor], work.tensor_sums[2 * tensor + 1], span.decays);
    lamb_apply_tile(span.param + begin, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, ratio,
                    span.decays);
}

constexpr std::int64_t piece = 512;  // a multiple of LaneSum's lanes

/// 16-bit gradients and parameters pass through the first cache as floats, in pieces: memory is passed over once.
void update_range(const Work& work, const UpdateSpan& span, std::int64_t begin, std::int64_t end) {
    if (span.type == ComputeType::fp32) {
        return update_fp32(work, span, span.grad == nullptr ? nullptr : span.grad + begin, begin, end);
    }
    float widened[piece];
    for (std::int64_t at = begin; at < end; at += piece) {
        const std::int64_t size = std::min(piece, end - at);
        const float* grad = span.grad == nullptr ? nullptr : span.grad + at;
        if (span.grad16 != nullptr) {
            widen(span.grad16 + at, widened, size, span.type);
            grad = widened;
        }
        update_fp32(work, span, grad, at, at + size);
        if (span.rounded != nullptr) narrow(span.param + at, span.rounded + at, size, span.type);
    }
}

/// The tile in pieces small enough that their old values stay in the first cache.
GroupTelemetry update_and_measure(const Work& work, const Tile& tile) {
    float old_param[piece];
    LaneSum updates;
    LaneSum weights;
    const UpdateSpan& span = work.spans[tile.run];
    for (std::int64_t begin = tile.begin; begin < tile.end; begin += piece) {
        const std::int64_t end = std::min(tile.end, begin + piece);
        std::copy(span.param + begin, span.param + end, old_param);
        update_range(work, span, begin, end);
        add_telemetry(updates, weights, old_param, span.param + begin, end - begin);
    }
    return {updates.total(), weights.total()};
}

void check_tables(const Work& work, std::span<const GroupTelemetry> telemetry) {
    STRATA_CHECK(telemetry.empty() || telemetry.size() == work.hypers.size(), "{} telemetry entries for {} groups",
                 telemetry.size(), work.hypers.size());
    for (const UpdateSpan& span : work.spans) {
        check_span(work.kind, span, work.hypers);
        STRATA_CHECK(
            work.kind != OptimizerKind::lamb || 2 * static_cast<std::size_t>(span.tensor) < work.tensor_sums.size(),
            "tensor {} of {} sums", span.tensor, work.tensor_sums.size());
    }
}

void update(const Work& work, std::span<GroupTelemetry> telemetry) {
    check_tables(work, telemetry);
    std::fill(telemetry.begin(), telemetry.end(), GroupTelemetry{});
    if (!work.control.finite) return;

    const std::vector<Tile> tiles = make_tiles(work.spans);
    const bool measure = !telemetry.empty();
    std::vector<GroupTelemetry> measured(measure ? tiles.size() : 0);
    const auto count = static_cast<std::int64_t>(tiles.size());
    // Static: the same thread touches the same memory at every step.
#pragma omp parallel for schedule(static) if (count > 1)
    for (std::int64_t t = 0; t < count; ++t) {
        const Tile& tile = tiles[static_cast<std::size_t>(t)];
        if (measure) {
            measured[static_cast<std::size_t>(t)] = update_and_measure(work, tile);
        } else {
            update_range(work, work.spans[tile.run], tile.begin, tile.end);
        }
    }
    for (std::size_t t = 0; t < measured.size(); ++t) {
        GroupTelemetry& sum = telemetry[static_cast<std::size_t>(work.spans[tiles[t].run].group)];
        sum.update_square_sum += measured[t].update_square_sum;
        sum.weight_square_sum += measured[t].weight_square_sum;
    }
}

}  // namespace

void check_span(OptimizerKind kind, const UpdateSpan& span, std::span<const GroupHyper> hypers) {
    const auto group = static_cast<std::size_t>(span.group);
    STRATA_CHECK(group < hypers.size(), "group {} of {}", span.group, hypers.size());
    const bool needs_second = kind != OptimizerKind::sgd;
    const bool needs_first = needs_second || hypers[group].momentum != 0.0F;
    const bool has_grad = span.grad != nullptr || (span.type != ComputeType::fp32 && span.grad16 != nullptr);
    const bool whole = span.param != nullptr && has_grad && (!needs_first || span.exp_avg != nullptr) &&
                       (!needs_second || span.exp_avg_sq != nullptr);
    STRATA_CHECK(span.elements == 0 || whole, "a span of group {} lacks a buffer", span.group);
}

void fused_update_cpu(OptimizerKind kind, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                      const UpdateControl& control, std::span<GroupTelemetry> telemetry) {
    STRATA_CHECK(kind != OptimizerKind::lamb, "LAMB's update has two phases");
    update({kind, spans, hypers, control}, telemetry);
}

void lamb_apply_cpu(std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers, const UpdateControl& control,
                    std::span<const double> tensor_sums, std::span<GroupTelemetry> telemetry) {
    update({OptimizerKind::lamb, spans, hypers, control, tensor_sums}, telemetry);
}

}  // namespace strata::optim
