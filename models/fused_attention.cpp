#include "models/fused_attention.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <mutex>
#include <utility>

namespace strata::models {
namespace {

constexpr std::int64_t attention_site = -2;  // of all calls of a step together
constexpr std::int64_t widest_flash_head = 256;

/// All of a call but its tensors.
struct Call : torch::CustomClassHolder {
    std::int64_t heads = 0;
    LayoutPointer layout;
    double probability = 0.0;
};

/// Gradients of queries, keys and values.
using Gradients = std::array<torch::Tensor, 3>;

// ---- flash attention: [T, heads, d] with borders ----

bool flash_takes(const torch::Tensor& q, std::int64_t heads) {
    return c10::isReducedFloatingType(q.scalar_type()) && q.size(1) / heads <= widest_flash_head;
}

/// Borders of the queries' sequences and of the keys', and how long the longest are.
struct Borders {
    Borders(const Call& call, const torch::Tensor& q) : keys(call.layout->on(q.device()).borders) {
        const bool first_only = q.size(0) != call.layout->rows();
        queries = first_only ? torch::arange(call.layout->sequences() + 1, keys.options()) : keys;
        longest_keys = call.layout->longest;
        longest_queries = first_only ? 1 : longest_keys;
    }
    torch::Tensor queries, keys;
    std::int64_t longest_queries = 0, longest_keys = 0;
};

torch::Tensor by_head(const torch::Tensor& packed, std::int64_t heads) {
    return packed.view({packed.size(0), heads, -1});
}

AttentionOutcome flash_forward(const Call& call, const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v) {
    const Borders borders(call, q);
    const auto [out, log_sum_exp, seed, offset, debug] = at::_flash_attention_forward(
        by_head(q, call.heads), by_head(k, call.heads), by_head(v, call.heads), borders.queries, borders.keys,
        borders.longest_queries, borders.longest_keys, call.probability, /*is_causal=*/false,
        /*return_debug_mask=*/false);
    return {out.view(q.sizes()), log_sum_exp, seed, offset};
}

Gradients flash_backward(const Call& call, const torch::Tensor& grad, const torch::Tensor& q, const torch::Tensor& k,
                         const torch::Tensor& v, const AttentionOutcome& made) {
    const Borders borders(call, q);
    const auto [grad_q, grad_k, grad_v] = at::_flash_attention_backward(
        by_head(grad, call.heads), by_head(q, call.heads), by_head(k, call.heads), by_head(v, call.heads),
        by_head(made.out, call.heads), made.log_sum_exp, borders.queries, borders.keys, borders.longest_queries,
        borders.longest_keys, call.probability, /*is_causal=*/false, made.seed, made.offset);
    return {grad_q.view(q.sizes()), grad_k.view(k.sizes()), grad_v.view(v.sizes())};
}

// ---- memory-efficient attention: [B, heads, length, d] with a mask ----

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

AttentionOutcome efficient_forward(const Call& call, const torch::Tensor& q, const torch::Tensor& k,
                                   const torch::Tensor& v) {
    const Padding padding{call.layout->padded_on(q.device()), call.heads};
    const torch::Tensor queries = padding.padded(q);
    const auto [padded, log_sum_exp, seed, offset] = at::_scaled_dot_product_efficient_attention(
        queries, padding.padded(k), padding.padded(v), padding.mask(queries), /*compute_log_sumexp=*/true,
        call.probability);
    return {padding.packed(padded), log_sum_exp, seed, offset};
}

Gradients efficient_backward(const Call& call, const torch::Tensor& grad, const torch::Tensor& q,
                             const torch::Tensor& k, const torch::Tensor& v, const AttentionOutcome& made) {
    const Padding padding{call.layout->padded_on(q.device()), call.heads};
    const torch::Tensor queries = padding.padded(q);
    const auto [grad_q, grad_k, grad_v, grad_mask] = at::_scaled_dot_product_efficient_attention_backward(
        padding.padded(grad), queries, padding.padded(k), padding.padded(v), padding.mask(queries),
        padding.padded(made.out), made.log_sum_exp, made.seed, made.offset, call.probability,
        {true, true, true, false});
    return {padding.packed(grad_q), padding.packed(grad_k), padding.packed(grad_v)};
}

class FusedAttention : public torch::autograd::Function<FusedAttention> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& q,
                                 const torch::Tensor& k, const torch::Tensor& v, const c10::intrusive_ptr<Call>& call,
                                 const KeptAttention& kept) {
        const AttentionOutcome made = outcome(*call, q, k, v, kept);
        context->save_for_backward({q, k, v, made.out, made.log_sum_exp, made.seed, made.offset});
        context->saved_data["call"] = torch::IValue::make_capsule(call);
        return made.out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
        const AttentionOutcome made{saved[3], saved[4], saved[5], saved[6]};
        const auto capsule = context->saved_data["call"].toCapsule();
        const auto& call = static_cast<const Call&>(*capsule);
        const auto& of = flash_takes(q, call.heads) ? flash_backward : efficient_backward;
        const auto [grad_q, grad_k, grad_v] = of(call, grads[0].contiguous(), q, k, v, made);
        return {grad_q, grad_k, grad_v, {}, {}};
    }

  private:
    static AttentionOutcome outcome(const Call& call, const torch::Tensor& q, const torch::Tensor& k,
                                    const torch::Tensor& v, const KeptAttention& kept) {
        // Taken, not shared: an output that knows its graph must not be held by what the graph holds.
        if (kept && kept->out.defined()) return std::exchange(*kept, {});
        const auto& of = flash_takes(q, call.heads) ? flash_forward : efficient_forward;
        AttentionOutcome made = of(call, q, k, v);
        if (kept) *kept = made;
        return made;
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
                              std::int64_t heads, const LayoutPointer& layout,
                              const std::optional<DropoutSite>& dropout, const KeptAttention& kept) {
    const auto call = c10::make_intrusive<Call>();
    call->heads = heads;
    call->layout = layout;
    call->probability = dropout ? dropout->probability : 0.0;
    return FusedAttention::apply(q, k, v, call, kept);
}

}  // namespace strata::models
