#include "models/fused_attention.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>
#include <tuple>

namespace strata::models {
namespace {

constexpr std::int64_t attention_site = -2;  // of all calls of a step together
constexpr std::int64_t widest_flash_head = 256;

torch::Tensor flash_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout, double probability) {
    const torch::Tensor offsets = layout.on(q.device()).borders;
    const bool first_only = q.size(0) != layout.rows();
    const torch::Tensor query_offsets = first_only ? torch::arange(layout.sequences() + 1, offsets.options()) : offsets;
    const auto by_head = [heads](const torch::Tensor& packed) { return packed.view({packed.size(0), heads, -1}); };
    const auto outcome = at::_flash_attention_forward(by_head(q), by_head(k), by_head(v), query_offsets, offsets,
                                                      first_only ? 1 : layout.longest, layout.longest, probability,
                                                      /*is_causal=*/false, /*return_debug_mask=*/false);
    return std::get<0>(outcome).view(q.sizes());
}

/// Rows of sequences as memory-efficient attention has them: [B, heads, length, d], or [B, heads, 1, d] of sequences'
/// first rows alone.
struct Padding {
    torch::Tensor padded(const torch::Tensor& packed) const {
        if (packed.size(0) != rows.slots.size(0)) return by_head(packed, 1);
        torch::Tensor all = torch::zeros({rows.mask.size(0) * rows.length, packed.size(1)}, packed.options());
        return by_head(all.index_copy_(0, rows.slots, packed), rows.length);
    }
    torch::Tensor by_head(const torch::Tensor& all, std::int64_t length) const {
        return all.view({-1, length, heads, all.size(1) / heads}).transpose(1, 2);
    }
    torch::Tensor packed(const torch::Tensor& padded) const {
        const torch::Tensor all = padded.transpose(1, 2).reshape({-1, heads * padded.size(3)});
        return padded.size(2) == 1 ? all : all.index_select(0, rows.slots);
    }
    torch::Tensor mask(const torch::Tensor& queries) const {
        return rows.mask.to(queries.scalar_type()).expand({-1, heads, queries.size(2), -1});
    }

    PaddedRows rows;
    std::int64_t heads;
};

class EfficientAttention : public torch::autograd::Function<EfficientAttention> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& q,
                                 const torch::Tensor& k, const torch::Tensor& v, const PaddedRows& rows,
                                 std::int64_t heads, double probability) {
        const Padding padding{rows, heads};
        const torch::Tensor queries = padding.padded(q);
        const auto [padded, log_sum_exp, seed, offset] = at::_scaled_dot_product_efficient_attention(
            queries, padding.padded(k), padding.padded(v), padding.mask(queries), /*compute_log_sumexp=*/true,
            probability);
        const torch::Tensor out = padding.packed(padded);
        context->save_for_backward({q, k, v, out, log_sum_exp, seed, offset, rows.slots, rows.mask});
        context->saved_data["length"] = rows.length;
        context->saved_data["heads"] = heads;
        context->saved_data["probability"] = probability;
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const Padding padding{{context->saved_data["length"].toInt(), saved[7], saved[8]},
                              context->saved_data["heads"].toInt()};
        const torch::Tensor queries = padding.padded(saved[0]);
        const auto [grad_q, grad_k, grad_v, grad_mask] = at::_scaled_dot_product_efficient_attention_backward(
            padding.padded(grads[0].contiguous()), queries, padding.padded(saved[1]), padding.padded(saved[2]),
            padding.mask(queries), padding.padded(saved[3]), saved[4], saved[5], saved[6],
            context->saved_data["probability"].toDouble(), {true, true, true, false});
        return {padding.packed(grad_q), padding.packed(grad_k), padding.packed(grad_v), {}, {}, {}};
    }
};

}  // namespace

void seed_fused_attention(torch::Device device, const DropoutKey& key, std::int64_t first_position) {
    if (!device.is_cuda()) return;
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    generator.set_current_seed(dropout_sample_key({key, attention_site, 0.0}, first_position));
}

bool fused_attention_takes(std::int64_t head_size) {
    return head_size % 8 == 0;
}

bool fused_attention_can(const torch::Tensor& q, std::int64_t heads) {
    return q.is_cuda() && (c10::isReducedFloatingType(q.scalar_type()) || q.scalar_type() == torch::kFloat32) &&
           fused_attention_takes(q.size(1) / heads);
}

torch::Tensor fused_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout) {
    const double probability = dropout ? dropout->probability : 0.0;
    if (c10::isReducedFloatingType(q.scalar_type()) && q.size(1) / heads <= widest_flash_head)
        return flash_attention(q, k, v, heads, layout, probability);
    return EfficientAttention::apply(q, k, v, layout.padded_on(q.device()), heads, probability);
}

}  // namespace strata::models
