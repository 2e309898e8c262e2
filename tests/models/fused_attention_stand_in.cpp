// LibTorch's fused attention operators on the CPU, where it has none: after the checks that LibTorch 2.11 makes on a
// GPU (aten/src/ATen/native/transformers/cuda), the definition in double. Masks come from the CPU's
// generator.
#include "tests/models/fused_attention_stand_in.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/library.h>
#include <torch/types.h>

#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "models/fused_attention.h"

namespace {

using torch::Tensor;
using MaybeTensor = std::optional<Tensor>;

std::atomic<bool> in_use = false;
std::atomic<std::int64_t> forward_count = 0, backward_count = 0;  // backward passes have threads of their own

/// What each probability is multiplied by; undefined without dropout.
Tensor factors_of(std::int64_t seed, torch::IntArrayRef shape, double probability) {
    if (probability == 0.0) return {};
    torch::Generator generator = torch::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(seed));
    return torch::empty(shape, torch::kFloat64).bernoulli_(1.0 - probability, generator) / (1.0 - probability);
}

Tensor dropped(const Tensor& x, const Tensor& factors) {
    return factors.defined() ? x * factors : x;
}

/// Queries [..., M, d], keys and values [..., N, d], and what is added to their scores, if anything.
struct Attention {
    Attention(const Tensor& its_q, const Tensor& its_k, const Tensor& its_v, const MaybeTensor& bias, std::int64_t seed,
              double probability)
        : q(its_q.to(torch::kFloat64)), k(its_k.to(torch::kFloat64)), v(its_v.to(torch::kFloat64)) {
        scores = torch::matmul(q, k.transpose(-2, -1)) * scale();
        if (bias) scores = scores + *bias;
        factors = factors_of(seed, scores.sizes(), probability);
    }
    double scale() const { return 1.0 / std::sqrt(static_cast<double>(q.size(-1))); }
    Tensor log_sum_exp() const { return torch::logsumexp(scores, -1); }
    Tensor out(const Tensor& its_log_sum_exp) const {
        return torch::matmul(dropped((scores - its_log_sum_exp.unsqueeze(-1)).exp(), factors), v);
    }
    std::tuple<Tensor, Tensor, Tensor> grads(const Tensor& grad_out, const Tensor& out,
                                             const Tensor& its_log_sum_exp) const {
        const Tensor grad = grad_out.to(torch::kFloat64);
        const Tensor probabilities = (scores - its_log_sum_exp.unsqueeze(-1)).exp();
        const Tensor grad_p = dropped(torch::matmul(grad, v.transpose(-2, -1)), factors);
        const Tensor delta = (grad * out.to(torch::kFloat64)).sum(-1, /*keepdim=*/true);
        const Tensor grad_scores = probabilities * (grad_p - delta) * scale();
        return {torch::matmul(grad_scores, k), torch::matmul(grad_scores.transpose(-2, -1), q),
                torch::matmul(dropped(probabilities, factors).transpose(-2, -1), grad)};
    }

    Tensor q, k, v, scores, factors;
};

// ---- memory-efficient attention: [B, heads, length, d] ----

std::int64_t rows_of_sums(const Tensor& q) {
    return (q.size(2) + 31) / 32 * 32;
}

void check_efficient(const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& bias, bool causal) {
    const std::int64_t alignment = q.element_size() == 4 ? 4 : 8;
    TORCH_CHECK(!causal && q.dim() == 4 && k.sizes() == v.sizes(), "shapes");
    TORCH_CHECK(q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3), "queries against keys");
    for (const Tensor& x : {q, k, v}) {
        TORCH_CHECK(x.scalar_type() == q.scalar_type() && x.scalar_type() != torch::kFloat64, "types");
        TORCH_CHECK(x.stride(3) == 1 && x.stride(1) % alignment == 0 && x.stride(2) % alignment == 0, "alignment");
    }
    TORCH_CHECK(bias && bias->scalar_type() == q.scalar_type(), "no mask of the queries' type");
    TORCH_CHECK(bias->sizes() == torch::IntArrayRef({q.size(0), q.size(1), q.size(2), k.size(2)}), "the mask's shape");
    TORCH_CHECK(bias->stride(3) == 1, "the mask is not contiguous");
    for (const std::int64_t dimension : {0, 1, 2})
        TORCH_CHECK(bias->stride(dimension) % alignment == 0, "the mask's alignment");
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                             const MaybeTensor& bias, bool wants_sums,
                                                             double probability, bool causal,
                                                             std::optional<double> scale) {
    check_efficient(q, k, v, bias, causal);
    TORCH_CHECK(wants_sums && !scale, "backward has no sums");
    ++forward_count;
    const Tensor seed = torch::randint(1 << 30, {}, torch::kInt64);
    const Attention attention(q, k, v, bias, seed.item<std::int64_t>(), probability);
    const Tensor sums = attention.log_sum_exp();
    const Tensor padded = torch::full({q.size(0), q.size(1), rows_of_sums(q)}, std::nan(""), torch::kFloat32);
    padded.narrow(2, 0, q.size(2)).copy_(sums);
    const Tensor out = attention.out(sums).to(q.scalar_type()).transpose(1, 2).contiguous().transpose(1, 2);
    return {out, padded, seed, torch::zeros({}, torch::kInt64)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_backward(const Tensor& grad, const Tensor& q, const Tensor& k,
                                                              const Tensor& v, const Tensor& bias, const Tensor& out,
                                                              const Tensor& sums, const Tensor& seed,
                                                              const Tensor& offset, double probability,
                                                              std::array<bool, 4> wanted, bool causal,
                                                              std::optional<double> scale) {
    check_efficient(q, k, v, bias, causal);
    TORCH_CHECK(!scale && offset.numel() == 1 && wanted == (std::array{true, true, true, false}), "arguments");
    TORCH_CHECK(grad.sizes() == q.sizes() && out.sizes() == q.sizes() && grad.scalar_type() == q.scalar_type(),
                "gradients against queries");
    TORCH_CHECK(sums.sizes() == torch::IntArrayRef({q.size(0), q.size(1), rows_of_sums(q)}), "the sums' shape");
    ++backward_count;
    const Attention attention(q, k, v, bias, seed.item<std::int64_t>(), probability);
    const auto [grad_q, grad_k, grad_v] = attention.grads(grad, out, sums.narrow(2, 0, q.size(2)));
    return {grad_q.to(q.scalar_type()), grad_k.to(q.scalar_type()), grad_v.to(q.scalar_type()), Tensor()};
}

// ---- flash attention: [T, heads, d] with borders ----

/// Calls each(sequence, its queries' begin and end, its keys').
template <typename Each>
void for_sequences(const Tensor& q_borders, const Tensor& k_borders, const Each& each) {
    for (std::int64_t b = 0; b + 1 < q_borders.size(0); ++b) {
        const auto at = [b](const Tensor& borders, std::int64_t next) {
            return borders[b + next].item<std::int64_t>();
        };
        each(b, at(q_borders, 0), at(q_borders, 1), at(k_borders, 0), at(k_borders, 1));
    }
}

Tensor rows_by_head(const Tensor& x, std::int64_t begin, std::int64_t end) {
    return x.narrow(0, begin, end - begin).transpose(0, 1);
}

void check_flash(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& q_borders, const Tensor& k_borders,
                 const c10::SymInt& longest_q, const c10::SymInt& longest_k, bool causal) {
    TORCH_CHECK(!causal && q.dim() == 3 && k.sizes() == v.sizes() && q.size(1) == k.size(1), "shapes");
    TORCH_CHECK(q.size(2) == k.size(2) && q.size(2) % 8 == 0 && q.size(2) <= 256, "the size of heads");
    for (const Tensor& x : {q, k, v}) TORCH_CHECK(c10::isReducedFloatingType(x.scalar_type()) && x.stride(2) == 1);
    for (const Tensor& borders : {q_borders, k_borders})
        TORCH_CHECK(borders.scalar_type() == torch::kInt32 && borders.is_contiguous(), "borders");
    TORCH_CHECK(q_borders.sizes() == k_borders.sizes(), "as many sequences of queries as of keys");
    for_sequences(q_borders, k_borders, [&](auto, auto q_begin, auto q_end, auto k_begin, auto k_end) {
        TORCH_CHECK(q_end - q_begin <= longest_q && k_end - k_begin <= longest_k, "the longest is not");
    });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> flash_forward(
    const Tensor& q, const Tensor& k, const Tensor& v, const MaybeTensor& q_borders, const MaybeTensor& k_borders,
    // NOLINTNEXTLINE(performance-unnecessary-value-param): as the schema has it
    c10::SymInt longest_q, c10::SymInt longest_k, double probability, bool causal, bool debug,
    std::optional<double> scale, std::optional<c10::SymInt> /*left*/, std::optional<c10::SymInt> /*right*/,
    const MaybeTensor& used, const MaybeTensor& slopes) {
    check_flash(q, k, v, q_borders.value(), k_borders.value(), longest_q, longest_k, causal);
    TORCH_CHECK(!debug && !scale && !used && !slopes, "arguments");
    ++forward_count;
    const Tensor seed = torch::randint(1 << 30, {2}, torch::kInt64);
    const Tensor out = torch::empty_like(q), sums = torch::empty({q.size(1), q.size(0)}, torch::kFloat32);
    for_sequences(*q_borders, *k_borders, [&](auto b, auto q_begin, auto q_end, auto k_begin, auto k_end) {
        const Attention attention(rows_by_head(q, q_begin, q_end), rows_by_head(k, k_begin, k_end),
                                  rows_by_head(v, k_begin, k_end), {}, seed[0].item<std::int64_t>() + b, probability);
        const Tensor its_sums = attention.log_sum_exp();
        sums.narrow(1, q_begin, q_end - q_begin).copy_(its_sums);
        rows_by_head(out, q_begin, q_end).copy_(attention.out(its_sums));
    });
    return {out, sums, seed.to(torch::kUInt64), torch::empty({}, torch::kUInt64), torch::empty({0}, q.options())};
}

std::tuple<Tensor, Tensor, Tensor> flash_backward(
    const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out, const Tensor& sums,
    // NOLINTNEXTLINE(performance-unnecessary-value-param): as the schema has it
    const Tensor& q_borders, const Tensor& k_borders, c10::SymInt longest_q, c10::SymInt longest_k, double probability,
    bool causal, const Tensor& state, const Tensor& /*unused*/, std::optional<double> scale,
    std::optional<c10::SymInt> /*left*/, std::optional<c10::SymInt> /*right*/) {
    check_flash(q, k, v, q_borders, k_borders, longest_q, longest_k, causal);
    TORCH_CHECK(!scale && grad.sizes() == q.sizes() && out.sizes() == q.sizes(), "arguments");
    ++backward_count;
    const auto seed = state.to(torch::kInt64)[0].item<std::int64_t>();
    const Tensor grad_q = torch::empty_like(q), grad_k = torch::empty_like(k), grad_v = torch::empty_like(v);
    for_sequences(q_borders, k_borders, [&](auto b, auto q_begin, auto q_end, auto k_begin, auto k_end) {
        const Attention attention(rows_by_head(q, q_begin, q_end), rows_by_head(k, k_begin, k_end),
                                  rows_by_head(v, k_begin, k_end), {}, seed + b, probability);
        const auto [its_q, its_k, its_v] =
            attention.grads(rows_by_head(grad, q_begin, q_end), rows_by_head(out, q_begin, q_end),
                            sums.narrow(1, q_begin, q_end - q_begin));
        rows_by_head(grad_q, q_begin, q_end).copy_(its_q);
        rows_by_head(grad_k, k_begin, k_end).copy_(its_k);
        rows_by_head(grad_v, k_begin, k_end).copy_(its_v);
    });
    return {grad_q, grad_k, grad_v};
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, CPU, library) {
    library.impl("_scaled_dot_product_efficient_attention", &efficient_forward);
    library.impl("_scaled_dot_product_efficient_attention_backward", &efficient_backward);
    library.impl("_flash_attention_forward", &flash_forward);
    library.impl("_flash_attention_backward", &flash_backward);
}

// strata::models::fused_attention_can as packed_attention calls it: the linker is told so.
extern "C" {
bool __real__ZN6strata6models19fused_attention_canERKN2at6TensorEl(const torch::Tensor& q, std::int64_t heads);
bool __wrap__ZN6strata6models19fused_attention_canERKN2at6TensorEl(const torch::Tensor& q, std::int64_t heads) {
    if (!in_use) return __real__ZN6strata6models19fused_attention_canERKN2at6TensorEl(q, heads);
    return q.scalar_type() != torch::kFloat64 && strata::models::fused_attention_takes(q.size(1) / heads);
}
}

namespace strata::models::testing {

FusedAttentionOnTheCpu::FusedAttentionOnTheCpu() {
    forward_count = backward_count = 0;
    in_use = true;
}

FusedAttentionOnTheCpu::~FusedAttentionOnTheCpu() {
    in_use = false;
}

std::int64_t FusedAttentionOnTheCpu::forward_calls() const {
    return forward_count;
}

std::int64_t FusedAttentionOnTheCpu::backward_calls() const {
    return backward_count;
}

}  // namespace strata::models::testing
