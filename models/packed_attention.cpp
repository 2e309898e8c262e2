#include "models/packed_attention.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/attention_kernel.h"
#include "models/dropout_mix.h"
#include "models/kernel_data.h"
#include "models/parallel.h"

namespace strata::models {
namespace {

/// All but the tensors: how the rows are cut, and which sequences go to which path.
struct Plan : torch::CustomClassHolder {
    std::int64_t heads = 0;
    LayoutPointer layout;
    bool first_only = false;
    std::optional<DropoutSite> dropout;
    std::vector<std::int64_t> long_sequences;
    // The kernel's lists, over the short sequences.
    std::vector<std::int64_t> begins, lengths, query_begins, query_lengths;
    std::vector<std::uint64_t> sample_keys;
    std::int64_t longest = 0;

    std::int64_t begin(std::int64_t sequence) const { return layout->offsets[static_cast<std::size_t>(sequence)]; }
    std::int64_t query_begin(std::int64_t sequence) const { return first_only ? sequence : begin(sequence); }
    std::int64_t query_length(std::int64_t sequence) const { return first_only ? 1 : layout->length(sequence); }
};

c10::intrusive_ptr<Plan> make_plan(std::int64_t heads, const LayoutPointer& layout, bool first_only,
                                   const std::optional<DropoutSite>& dropout, std::int64_t short_limit,
                                   bool kernel_can) {
    auto plan = c10::make_intrusive<Plan>();
    plan->heads = heads;
    plan->layout = layout;
    plan->first_only = first_only;
    if (dropout && dropout->probability > 0.0) plan->dropout = dropout;
    for (std::int64_t b = 0; b < layout->sequences(); ++b) {
        const std::int64_t length = layout->length(b);
        if (!kernel_can || length > short_limit) {
            plan->long_sequences.push_back(b);
            continue;
        }
        plan->begins.push_back(plan->begin(b));
        plan->lengths.push_back(length);
        plan->query_begins.push_back(plan->query_begin(b));
        plan->query_lengths.push_back(plan->query_length(b));
        plan->longest = std::max(plan->longest, length);
        if (plan->dropout) {
            const std::int64_t position = layout->sample_positions[static_cast<std::size_t>(b)];
            plan->sample_keys.push_back(dropout_sample_key(*plan->dropout, position));
        }
    }
    return plan;
}

template <typename T>
AttentionProblem<T> kernel_problem(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k,
                                   const torch::Tensor& v) {
    AttentionProblem<T> problem{};
    problem.heads = plan.heads;
    problem.head_size = q.size(1) / plan.heads;
    problem.query_rows = q.size(0);
    problem.sequences = static_cast<std::int64_t>(plan.begins.size());
    problem.begins = plan.begins.data();
    problem.lengths = plan.lengths.data();
    problem.query_begins = plan.query_begins.data();
    problem.query_lengths = plan.query_lengths.data();
    problem.longest = plan.longest;
    problem.q = data_of<T>(q);
    problem.k = data_of<T>(k);
    problem.v = data_of<T>(v);
    if (plan.dropout) {
        problem.sample_keys = plan.sample_keys.data();
        problem.dropout_threshold = dropout_threshold(plan.dropout->probability);
        problem.dropout_scale = static_cast<float>(1.0 / (1.0 - plan.dropout->probability));
    }
    return problem;
}

/// One long sequence's rows as [heads, length, head size], computed in at least fp32.
struct Sequence {
    Sequence(const Plan& plan, std::int64_t index)
        : heads(plan.heads),
          begin(plan.begin(index)),
          length(plan.layout->length(index)),
          query_begin(plan.query_begin(index)),
          query_length(plan.query_length(index)) {
        if (plan.dropout) {
            const std::int64_t position = plan.layout->sample_positions[static_cast<std::size_t>(index)];
            factors = attention_dropout_factors(*plan.dropout, position, heads, length).narrow(1, 0, query_length);
        }
    }
    torch::Tensor view_of_keys(const torch::Tensor& packed) const {
        return packed.narrow(0, begin, length).view({length, heads, -1}).transpose(0, 1);
    }
    torch::Tensor view_of_queries(const torch::Tensor& packed) const {
        return packed.narrow(0, query_begin, query_length).view({query_length, heads, -1}).transpose(0, 1);
    }
    torch::Tensor keys(const torch::Tensor& packed) const { return view_of_keys(packed).to(arithmetic_of(packed)); }
    torch::Tensor queries(const torch::Tensor& packed) const {
        return view_of_queries(packed).to(arithmetic_of(packed));
    }
    torch::Tensor sums(const torch::Tensor& log_sum_exp) const {
        return log_sum_exp.narrow(1, query_begin, query_length);
    }
    torch::Tensor dropped(const torch::Tensor& probabilities) const {
        return factors.defined() ? probabilities * factors.to(probabilities.options()) : probabilities;
    }

    std::int64_t heads, begin, length, query_begin, query_length;
    torch::Tensor factors;  // undefined without dropout
};

torch::Tensor scores_of(const torch::Tensor& q, const torch::Tensor& k) {
    return torch::matmul(q, k.transpose(1, 2)).mul_(1.0 / std::sqrt(static_cast<double>(q.size(2))));
}

void forward_long(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                  const torch::Tensor& out, const torch::Tensor& log_sum_exp) {
    for (const std::int64_t index : plan.long_sequences) {
        const Sequence sequence(plan, index);
        const torch::Tensor scores = scores_of(sequence.queries(q), sequence.keys(k));
        const torch::Tensor sums = torch::logsumexp(scores, 2);
        sequence.sums(log_sum_exp).copy_(sums);
        const torch::Tensor probabilities = torch::sub(scores, sums.unsqueeze(2)).exp_();
        sequence.view_of_queries(out).copy_(torch::matmul(sequence.dropped(probabilities), sequence.keys(v)));
    }
}

void backward_long(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                   const torch::Tensor& log_sum_exp, const torch::Tensor& grad, const torch::Tensor& grad_q,
                   const torch::Tensor& grad_k, const torch::Tensor& grad_v) {
    for (const std::int64_t index : plan.long_sequences) {
        const Sequence sequence(plan, index);
        const torch::Tensor its_q = sequence.queries(q), its_k = sequence.keys(k), its_grad = sequence.queries(grad);
        const torch::Tensor probabilities =
            scores_of(its_q, its_k).sub_(sequence.sums(log_sum_exp).unsqueeze(2)).exp_();
        sequence.view_of_keys(grad_v).copy_(torch::matmul(sequence.dropped(probabilities).transpose(1, 2), its_grad));
        const torch::Tensor grad_p = sequence.dropped(torch::matmul(its_grad, sequence.keys(v).transpose(1, 2)));
        const torch::Tensor weighted = torch::mul(grad_p, probabilities).sum(2, /*keepdim=*/true);
        const double scale = 1.0 / std::sqrt(static_cast<double>(its_q.size(2)));
        const torch::Tensor grad_scores = torch::sub(grad_p, weighted).mul_(probabilities).mul_(scale);
        sequence.view_of_queries(grad_q).copy_(torch::matmul(grad_scores, its_k));
        sequence.view_of_keys(grad_k).copy_(torch::matmul(grad_scores.transpose(1, 2), its_q));
    }
}

template <typename T>
void forward_short(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                   const torch::Tensor& out, const torch::Tensor& log_sum_exp) {
    const AttentionProblem<T> problem = kernel_problem<T>(plan, q, k, v);
    T* to = mutable_data_of<T>(out);
    float* sums = log_sum_exp.mutable_data_ptr<float>();
    parallel_for(0, problem.heads * problem.sequences, 1,
                 [&](std::int64_t begin, std::int64_t end) { attention_forward(problem, to, sums, begin, end); });
}

template <typename T>
void backward_short(const Plan& plan, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                    const torch::Tensor& log_sum_exp, const torch::Tensor& grad, const torch::Tensor& grad_q,
                    const torch::Tensor& grad_k, const torch::Tensor& grad_v) {
    const AttentionProblem<T> problem = kernel_problem<T>(plan, q, k, v);
    const T* from = data_of<T>(grad);
    const float* sums = log_sum_exp.const_data_ptr<float>();
    T *to_q = mutable_data_of<T>(grad_q), *to_k = mutable_data_of<T>(grad_k), *to_v = mutable_data_of<T>(grad_v);
    parallel_for(0, problem.heads * problem.sequences, 1, [&](std::int64_t begin, std::int64_t end) {
        attention_backward(problem, from, sums, to_q, to_k, to_v, begin, end);
    });
}

class PackedAttention : public torch::autograd::Function<PackedAttention> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& q,
                                 const torch::Tensor& k, const torch::Tensor& v, const c10::intrusive_ptr<Plan>& plan) {
        RECORD_USER_SCOPE("PackedAttention");
        torch::Tensor out = torch::empty_like(q);
        const torch::Tensor log_sum_exp = torch::empty({plan->heads, q.size(0)}, q.options().dtype(arithmetic_of(q)));
        if (!plan->begins.empty()) {
            for_kernel_type(q, [&](auto type) { forward_short<decltype(type)>(*plan, q, k, v, out, log_sum_exp); });
        }
        forward_long(*plan, q, k, v, out, log_sum_exp);
        context->save_for_backward({q, k, v, log_sum_exp});
        context->saved_data["plan"] = torch::IValue::make_capsule(plan);
        return out;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &log_sum_exp = saved[3];
        const auto capsule = context->saved_data["plan"].toCapsule();
        const auto& plan = static_cast<const Plan&>(*capsule);
        const torch::Tensor grad = grads[0].contiguous();
        const torch::Tensor grad_q = torch::empty_like(q), grad_k = torch::empty_like(k), grad_v = torch::empty_like(v);
        if (!plan.begins.empty()) {
            for_kernel_type(q, [&](auto type) {
                backward_short<decltype(type)>(plan, q, k, v, log_sum_exp, grad, grad_q, grad_k, grad_v);
            });
        }
        backward_long(plan, q, k, v, log_sum_exp, grad, grad_q, grad_k, grad_v);
        return {grad_q, grad_k, grad_v, {}};
    }
};

}  // namespace

torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               std::int64_t heads, const LayoutPointer& layout,
                               const std::optional<DropoutSite>& dropout, const AttentionPaths& paths) {
    STRATA_CHECK(k.dim() == 2 && k.sizes() == v.sizes() && k.size(0) == layout->rows(),
                 "k and v must be [{} tokens, width]", layout->rows());
    STRATA_CHECK(
        q.dim() == 2 && q.size(1) == k.size(1) && (q.size(0) == layout->rows() || q.size(0) == layout->sequences()),
        "q must be [{} tokens or {} sequences, {}]", layout->rows(), layout->sequences(), k.size(1));
    STRATA_CHECK(heads > 0 && q.size(1) % heads == 0, "{} heads do not divide a width of {}", heads, q.size(1));
    if (widens(q)) {
        return packed_attention(widened(q), widened(k), widened(v), heads, layout, dropout, paths).to(q.scalar_type());
    }
    if (paths.fused && fused_attention_can(q, heads))
        return fused_attention(q.contiguous(), k.contiguous(), v.contiguous(), heads, layout, dropout, paths.kept);
    const bool first_only = q.size(0) != layout->rows();
    return PackedAttention::apply(q.contiguous(), k.contiguous(), v.contiguous(),
                                  make_plan(heads, layout, first_only, dropout, paths.short_limit, kernel_can(q)));
}

}  // namespace strata::models
