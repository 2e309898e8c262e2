#include "core/error.h"
#include "optim/fused_update.h"
#include "optim/instruction_sets.h"
#include "optim/lane_sum.h"
#include "optim/resting_pieces.h"
#include "optim/span_check.h"
#include "optim/span_floats.h"
#include "optim/stochastic_rounding.h"
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

STRATA_CLONES void decay_tile(float* param, std::int64_t elements, float factor) {
    for (std::int64_t i = 0; i < elements; ++i) param[i] = param[i] * factor;
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
    RestingPieces* resting = nullptr;          // adamw
};

void sgd_range(const UpdateSpan& span, const GroupHyper& hyper, float grad_scale, float* param, const float* grad,
               std::int64_t begin, std::int64_t elements) {
    if (hyper.momentum != 0.0F) {
        momentum_tile(param, grad, span.exp_avg + begin, elements, hyper, grad_scale, span.decays);
    } else {
        plain_sgd_tile(param, grad, elements, hyper, grad_scale, span.decays);
    }
}

/// `param` and `grad` are of the range's first element on; the rest of the span counts from its own.
void update_fp32(const Work& work, const UpdateSpan& span, float* param, const float* grad, std::int64_t begin,
                 std::int64_t elements) {
    const GroupHyper& hyper = work.hypers[static_cast<std::size_t>(span.group)];
    const float scale = work.control.grad_scale;
    switch (work.kind) {
        case OptimizerKind::adamw:
            return adamw_tile(param, grad, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, scale,
                              span.decays);
        case OptimizerKind::adam:
            return adam_tile(param, grad, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, scale,
                             span.decays);
        case OptimizerKind::sgd:
            return sgd_range(span, hyper, scale, param, grad, begin, elements);
        case OptimizerKind::lamb:
            break;
    }
    const auto tensor = static_cast<std::size_t>(span.tensor);
    const float ratio = trust_ratio(work.tensor_sums[2 * tensor], work.tensor_sums[2 * tensor + 1], span.decays);
    lamb_apply_tile(param, span.exp_avg + begin, span.exp_avg_sq + begin, elements, hyper, ratio, span.decays);
}

/// Puts updated parameters where they are kept, as they are kept: those without masters become what is stored.
void store(const Work& work, const UpdateSpan& span, float* param, std::int64_t begin, std::int64_t elements) {
    if (span.param == nullptr) {
        const GroupHyper& hyper = work.hypers[static_cast<std::size_t>(span.group)];
        round_to_bf16(param, elements, rounding_key(hyper.rounding, span.parameter), span.first + begin);
    }
    if (span.rounded != nullptr) narrow(param, span.rounded + begin, elements, span.type);
}

constexpr std::int64_t piece = RestingPieces::piece;
static_assert(piece % LaneSum::lanes == 0 && tile_elements % piece == 0);

struct Measured {
    LaneSum updates;
    LaneSum weights;
};

/// Of 16 bits or with `measured`, at most a piece: what is widened and what was there before stay in the first cache.
void update_range(const Work& work, const UpdateSpan& span, std::int64_t begin, std::int64_t elements,
                  Measured* measured) {
    float grad_room[piece];
    float param_room[piece];
    float old_param[piece];
    const float* const grad = gradients_of(span, begin, elements, grad_room);
    float* const param = parameters_of(span, begin, elements, param_room);
    if (measured != nullptr) std::copy_n(param, elements, old_param);
    update_fp32(work, span, param, grad, begin, elements);
    store(work, span, param, begin, elements);
    if (measured != nullptr) add_telemetry(measured->updates, measured->weights, old_param, param, elements);
}

/// What AdamW does where moments and gradients are zero: with an epsilon above 0 it takes 0 away from the parameter.
void decay_range(const Work& work, const UpdateSpan& span, std::int64_t begin, std::int64_t elements) {
    const float factor = work.hypers[static_cast<std::size_t>(span.group)].decay_factor;
    if (!span.decays || factor == 1.0F) return;
    decay_tile(span.param + begin, elements, factor);
    store(work, span, span.param + begin, begin, elements);
}

/// Those of a span that the update may leave at rest; none where each element's rounding is drawn.
std::span<std::uint8_t> resting_pieces(const Work& work, std::size_t index) {
    const UpdateSpan& span = work.spans[index];
    const float epsilon = work.hypers[static_cast<std::size_t>(span.group)].epsilon;
    if (work.resting == nullptr || span.param == nullptr || !(epsilon > 0.0F)) return {};
    return work.resting->of(index);
}

bool has_gradient(const UpdateSpan& span, std::int64_t begin, std::int64_t elements) {
    return span.grad16 != nullptr ? any_nonzero(span.grad16 + begin, elements)
                                  : any_nonzero(span.grad + begin, elements);
}

/// Of a tile, from where it was asked for.
struct Range {
    std::int64_t end;
    bool rests;
};

/// The next one that is all at rest or all not, at most `most` elements of it. A gradient ends a piece's rest.
Range next_range(const UpdateSpan& span, std::span<std::uint8_t> resting, std::int64_t begin, std::int64_t tile_end,
                 std::int64_t most) {
    const std::int64_t end = std::min(tile_end, begin + most);
    if (resting.empty()) return {end, false};
    const auto rests = [&](std::int64_t at) -> std::uint8_t& { return resting[static_cast<std::size_t>(at / piece)]; };
    std::int64_t next = std::min(tile_end, begin + piece);
    if (rests(begin) != 0) {
        if (!has_gradient(span, begin, next - begin)) return {next, true};
        rests(begin) = 0;
    }
    while (next < end && rests(next) == 0) next += piece;
    return {std::min(next, end), false};
}

/// Zero unless it is to measure. Memory is passed over once.
GroupTelemetry update_tile(const Work& work, const Tile& tile, bool measure) {
    const UpdateSpan& span = work.spans[tile.run];
    const std::span<std::uint8_t> resting = resting_pieces(work, tile.run);
    const std::int64_t most = span.type == ComputeType::fp32 && !measure ? tile_elements : piece;
    Measured measured;
    for (std::int64_t begin = tile.begin; begin < tile.end;) {
        const Range range = next_range(span, resting, begin, tile.end, most);
        if (range.rests && !measure) {
            decay_range(work, span, begin, range.end - begin);
        } else {
            update_range(work, span, begin, range.end - begin, measure ? &measured : nullptr);
        }
        begin = range.end;
    }
    return {measured.updates.total(), measured.weights.total()};
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
    std::vector<GroupTelemetry> measured(tiles.size());
    const auto count = static_cast<std::int64_t>(tiles.size());
    // Static: the same thread touches the same memory at every step.
#pragma omp parallel for schedule(static) if (count > 1)
    for (std::int64_t t = 0; t < count; ++t) {
        const auto tile = static_cast<std::size_t>(t);
        measured[tile] = update_tile(work, tiles[tile], !telemetry.empty());
    }
    if (telemetry.empty()) return;
    for (std::size_t t = 0; t < tiles.size(); ++t) {
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
    const bool has_param = span.param != nullptr || (span.type == ComputeType::bf16 && span.rounded != nullptr);
    const bool whole = has_param && has_grad && (!needs_first || span.exp_avg != nullptr) &&
                       (!needs_second || span.exp_avg_sq != nullptr);
    STRATA_CHECK(span.elements == 0 || whole, "a span of group {} lacks a buffer", span.group);
}

void fused_update_cpu(OptimizerKind kind, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                      const UpdateControl& control, std::span<GroupTelemetry> telemetry, RestingPieces* resting) {
    STRATA_CHECK(kind != OptimizerKind::lamb, "LAMB's update has two phases");
    STRATA_CHECK(resting == nullptr || resting->spans() == spans.size(), "resting pieces of {} spans, and {} spans",
                 resting == nullptr ? 0 : resting->spans(), spans.size());
    Work work{kind, spans, hypers, control};
    if (kind == OptimizerKind::adamw) work.resting = resting;
    update(work, telemetry);
}

void lamb_apply_cpu(std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers, const UpdateControl& control,
                    std::span<const double> tensor_sums, std::span<GroupTelemetry> telemetry) {
    update({OptimizerKind::lamb, spans, hypers, control, tensor_sums}, telemetry);
}

}  // namespace strata::optim
