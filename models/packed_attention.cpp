#include "models/packed_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/attention_kernel.h"
#include "models/dropout_mix.h"
#include "models/parallel.h"

namespace strata::models {
namespace {

/// All but the tensors: how the rows are cut, and which sequences go to which path.
struct Plan : torch::CustomClassHolder {
    std::int64_t heads = 0;
    LayoutPointer layout;
    std::optional<DropoutSite> dropout;
    std::vector<std::int64_t> long_sequences;
    // The kernel's lists, over the short sequences.
    std::vector<std::int64_t> begins, lengths;
    std::vector<std::uint64_t> sample_keys;
    std::int64_t longest = 0;
};

c10::intrusive_ptr<Plan> make_plan(std::int64_t heads, const LayoutPointer& layout,
                                   const std::optional<DropoutSite>& dropout, std::int64_t short_limit,
                                   bool kernel_can) {
    auto plan = c10::make_intrusive<Plan>();
    plan->heads = heads;
    plan->layout = layout;
    if (dropout && dropout->probability > 0.0) plan->dropout = dropout;
    for (std::int64_t b = 0; b < layout->sequences(); ++b) {
        const std::int64_t length = layout->length(b);
        if (!kernel_can || length > short_limit) {
            plan->long_sequences.push_back(b);
            continue;
        }
        plan->begins.push_back(layout->offsets[static_cast<std::size_t>(b)]);
        plan->lengths.push_back(length);
        plan->longest = std::max(plan->longest, length);
        if (plan->dropout) {
            const std::int64_t position = layout->sample_positions[static_cast<std::size_t>(b)];
            plan->sample_keys.push_back(dropout_sample_key(*plan->dropout, position));
        }
    }
    return plan;
}

AttentionProblem kernel_problem(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k,
                                const torch::Tensor& v) {
    AttentionProblem problem{};
    problem.heads = plan.heads;
    problem.head_size = q.size(1) / plan.heads;
    problem.rows = q.size(0);
    problem.sequences = static_cast<std::int64_t>(plan.begins.size());
    problem.begins = plan.begins.data();
    problem.lengths = plan.lengths.data();
    problem.longest = plan.longest;
    problem.q = q.const_data_ptr<float>();
    problem.k = k.const_data_ptr<float>();
    problem.v = v.const_data_ptr<float>();
    problem.row_stride = q.size(1);
    if (plan.dropout) {
        problem.sample_keys = plan.sample_keys.data();
        problem.dropout_threshold = dropout_threshold(plan.dropout->probability);
        problem.dropout_scale = static_cast<float>(1.0 / (1.0 - plan.dropout->probability));
    }
    return problem;
}

/// One long sequence's rows as [heads, length, head size].
struct Sequence {
    Sequence(const Plan& plan, std::int64_t index)
        : heads(plan.heads),
          begin(plan.layout->offsets[static_cast<std::size_t>(index)]),
          length(plan.layout->length(index)) {
        if (plan.dropout) {
            const std::int64_t position = plan.layout->sample_positions[static_cast<std::size_t>(index)];
            factors = attention_dropout_factors(*plan.dropout, position, heads, length);
        }
    }
    torch::Tensor of(const torch::Tensor& packed) const {
        return packed.narrow(0, begin, length).view({length, heads, -1}).transpose(0, 1);
    }
    torch::Tensor dropped(const torch::Tensor& probabilities) const {
        return factors.defined() ? probabilities * factors.to(probabilities.options()) : probabilities;
    }

    std::int64_t heads, begin, length;
    torch::Tensor factors;  // undefined without dropout
};

torch::Tensor scores_of(const torch::Tensor& q, const torch::Tensor& k) {
    return torch::matmul(q, k.transpose(1, 2)).mul_(1.0 / std::sqrt(static_cast<double>(q.size(2))));
}

void forward_long(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                  const torch::Tensor& out, const torch::Tensor& log_sum_exp) {
    for (const std::int64_t index : plan.long_sequences) {
        const Sequence sequence(plan, index);
        const torch::Tensor scores = scores_of(sequence.of(q), sequence.of(k));
        const torch::Tensor sums = torch::logsumexp(scores, 2);
        log_sum_exp.narrow(1, sequence.begin, sequence.length).copy_(sums);
        const torch::Tensor probabilities = torch::sub(scores, sums.unsqueeze(2)).exp_();
        sequence.of(out).copy_(torch::matmul(sequence.dropped(probabilities), sequence.of(v)));
    }
}

void backward_long(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                   const torch::Tensor& log_sum_exp, const torch::Tensor& grad, const torch::Tensor& grad_q,
                   const torch::Tensor& grad_k, const torch::Tensor& grad_v) {
    for (const std::int64_t index : plan.long_sequences) {
        const Sequence sequence(plan, index);
        const torch::Tensor its_q = sequence.of(q), its_k = sequence.of(k), its_grad = sequence.of(grad);
        const torch::Tensor sums = log_sum_exp.narrow(1, sequence.begin, sequence.length).unsqueeze(2);
        const torch::Tensor probabilities = scores_of(its_q, its_k).sub_(sums).exp_();
        sequence.of(grad_v).copy_(torch::matmul(sequence.dropped(probabilities).transpose(1, 2), its_grad));
        const torch::Tensor grad_p = sequence.dropped(torch::matmul(its_grad, sequence.of(v).transpose(1, 2)));
        const torch::Tensor weighted = torch::mul(grad_p, probabilities).sum(2, /*keepdim=*/true);
        const double scale = 1.0 / std::sqrt(static_cast<double>(its_q.size(2)));
        const torch::Tensor grad_scores = torch::sub(grad_p, weighted).mul_(probabilities).mul_(scale);
        sequence.of(grad_q).copy_(torch::matmul(grad_scores, its_k));
        sequence.of(grad_k).copy_(torch::matmul(grad_scores.transpose(1, 2), its_q));
    }
}

/// 16-bit tensors on the CPU are attended to in fp32, softmax and all; what is saved stays 16-bit.
torch::Tensor computed(const torch::Tensor& x) {
    return x.is_cpu() && c10::isReducedFloatingType(x.scalar_type()) ? x.to(torch::kFloat32) : x;
}

class PackedAttention : public torch::autograd::Function<PackedAttention> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& own_q,
                                 const torch::Tensor& own_k, const torch::Tensor& own_v,
                                 const c10::intrusive_ptr<Plan>& plan) {
        const torch::Tensor q = computed(own_q), k = computed(own_k), v = computed(own_v);
        const torch::Tensor out = torch::empty_like(q);
        const torch::Tensor log_sum_exp = torch::empty({plan->heads, q.size(0)}, q.options());
        if (!plan->begins.empty()) {
            const AttentionProblem problem = kernel_problem(*plan, q, k, v);
            float* to = out.mutable_data_ptr<float>();
            float* sums = log_sum_exp.mutable_data_ptr<float>();
            parallel_for(0, problem.heads * problem.sequences, 1, [&](std::int64_t begin, std::int64_t end) {
                attention_forward(problem, to, sums, begin, end);
            });
        }
        forward_long(*plan, q, k, v, out, log_sum_exp);
        context->save_for_backward({own_q, own_k, own_v, log_sum_exp});
        context->saved_data["plan"] = torch::IValue::make_capsule(plan);
        return out.to(own_q.scalar_type());
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor q = computed(saved[0]), k = computed(saved[1]), v = computed(saved[2]);
        const torch::Tensor& log_sum_exp = saved[3];
        const auto capsule = context->saved_data["plan"].toCapsule();
        const auto& plan = static_cast<const Plan&>(*capsule);
        const torch::Tensor grad = computed(grads[0]).contiguous();
        const torch::Tensor grad_q = torch::empty_like(q), grad_k = torch::empty_like(k), grad_v = torch::empty_like(v);
        if (!plan.begins.empty()) {
            const AttentionProblem problem = kernel_problem(plan, q, k, v);
            const float *from = grad.const_data_ptr<float>(), *sums = log_sum_exp.const_data_ptr<float>();
            float *to_q = grad_q.mutable_data_ptr<float>(), *to_k = grad_k.mutable_data_ptr<float>();
            float* to_v = grad_v.mutable_data_ptr<float>();
            parallel_for(0, problem.heads * problem.sequences, 1, [&](std::int64_t begin, std::int64_t end) {
                attention_backward(problem, from, sums, to_q, to_k, to_v, begin, end);
            });
        }
        backward_long(plan, q, k, v, log_sum_exp, grad, grad_q, grad_k, grad_v);
        const auto type = saved[0].scalar_type();
        return {grad_q.to(type), grad_k.to(type), grad_v.to(type), {}};
    }
};

}  // namespace

torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               std::int64_t heads, const LayoutPointer& layout,
                               const std::optional<DropoutSite>& dropout, std::int64_t short_limit) {
    STRATA_CHECK(q.dim() == 2 && q.sizes() == k.sizes() && q.sizes() == v.sizes() && q.size(0) == layout->rows(),
                 "q, k and v must be [{} tokens, width]", layout->rows());
    STRATA_CHECK(heads > 0 && q.size(1) % heads == 0, "{} heads do not divide a width of {}", heads, q.size(1));
    const bool kernel_can = q.is_cpu() && q.scalar_type() != torch::kFloat64;
    return PackedAttention::apply(q.contiguous(), k.contiguous(), v.contiguous(),
                                  make_plan(heads, layout, dropout, short_limit, kernel_can));
}

}  // namespace strata::models
