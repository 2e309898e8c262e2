#include "models/dropout.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "models/dropout_kernel.h"
#include "models/dropout_mix.h"
#include "models/parallel.h"

namespace strata::models {
namespace {

constexpr std::int64_t elements_per_thread = 32768;  // less is not worth waking a thread for

DropoutRow row_of(const DropoutSite& site, std::uint64_t row_key) {
    return {row_key, dropout_threshold(site.probability), static_cast<float>(1.0 / (1.0 - site.probability))};
}

bool drops(const std::optional<DropoutSite>& site) {
    STRATA_CHECK(!site || (site->probability >= 0.0 && site->probability < 1.0), "dropout probability {}",
                 site ? site->probability : 0.0);
    return site && site->probability > 0.0;
}

/// Calls visit(row, dropout row) for every row of the layout, threaded.
template <typename Visit>
void for_each_row(const PackedLayout& layout, const DropoutSite& site, std::int64_t width, const Visit& visit) {
    std::vector<std::uint64_t> sample_keys;
    sample_keys.reserve(layout.sample_positions.size());
    for (const std::int64_t position : layout.sample_positions)
        sample_keys.push_back(dropout_sample_key(site, position));
    const std::int64_t grain = std::max<std::int64_t>(1, elements_per_thread / std::max<std::int64_t>(width, 1));
    parallel_for(0, layout.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const auto sequence = static_cast<std::size_t>(layout.row_sequence[static_cast<std::size_t>(row)]);
            visit(row, row_of(site, dropout_row_key(sample_keys[sequence], row - layout.offsets[sequence], 0)));
        }
    });
}

/// factors * x, or residual + factors * x.
torch::Tensor apply_factors(const torch::Tensor& x, const torch::Tensor& residual, const PackedLayout& layout,
                            const DropoutSite& site) {
    STRATA_CHECK(x.dim() == 2 && x.size(0) == layout.rows(), "dropout over {} rows of a layout with {}", x.size(0),
                 layout.rows());
    const std::int64_t width = x.size(1);
    if (x.is_cpu() && c10::isReducedFloatingType(x.scalar_type())) {  // factors and sums in fp32, rounded once
        const torch::Tensor added = residual.defined() ? residual.to(torch::kFloat32) : residual;
        return apply_factors(x.to(torch::kFloat32), added, layout, site).to(x.scalar_type());
    }
    if (x.scalar_type() != torch::kFloat32 || !x.is_cpu()) {
        const torch::Tensor dropped = x * dropout_factors(layout, width, site).to(x.options());
        return residual.defined() ? residual + dropped : dropped;
    }
    const torch::Tensor source = x.contiguous();
    const torch::Tensor added = residual.defined() ? residual.contiguous() : residual;
    torch::Tensor out = torch::empty_like(source);
    const float* from = source.const_data_ptr<float>();
    const float* plus = added.defined() ? added.const_data_ptr<float>() : nullptr;
    float* to = out.mutable_data_ptr<float>();
    for_each_row(layout, site, width, [&](std::int64_t row, const DropoutRow& dropout) {
        const std::int64_t at = row * width;
        if (plus != nullptr) {
            dropout_add_row(dropout, from + at, plus + at, to + at, width);
        } else {
            dropout_row(dropout, from + at, to + at, width);
        }
    });
    return out;
}

/// What backward needs to make the mask again.
struct Remembered : torch::CustomClassHolder {
    Remembered(LayoutPointer its_layout, const DropoutSite& its_site) : layout(std::move(its_layout)), site(its_site) {}
    LayoutPointer layout;
    DropoutSite site;
};

class PackedDropout : public torch::autograd::Function<PackedDropout> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                                 const std::optional<torch::Tensor>& residual, const LayoutPointer& layout,
                                 const DropoutSite& site) {
        context->saved_data["adds"] = residual.has_value();
        context->saved_data["dropout"] = torch::IValue::make_capsule(c10::make_intrusive<Remembered>(layout, site));
        return apply_factors(x, residual.value_or(torch::Tensor()), *layout, site);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto capsule = context->saved_data["dropout"].toCapsule();
        const auto& dropout = static_cast<const Remembered&>(*capsule);
        torch::Tensor grad_x;
        if (context->needs_input_grad(0)) grad_x = apply_factors(grads[0], {}, *dropout.layout, dropout.site);
        const bool adds = context->saved_data["adds"].toBool();
        return {grad_x, adds ? grads[0] : torch::Tensor(), {}, {}};
    }
};

}  // namespace

std::uint64_t dropout_sample_key(const DropoutSite& site, std::int64_t sample_position) {
    std::uint64_t key = mix64(site.key.seed);
    key = mix64(key ^ static_cast<std::uint64_t>(site.key.step));
    key = mix64(key ^ static_cast<std::uint64_t>(site.id));
    return mix64(key ^ static_cast<std::uint64_t>(sample_position));
}

std::uint64_t dropout_row_key(std::uint64_t sample_key, std::int64_t token, std::int64_t head) {
    return dropout_row_key_of(sample_key, token, head);
}

float dropout_factor(const DropoutSite& site, std::uint64_t row_key, std::int64_t element) {
    return dropout_factor_of(row_of(site, row_key), static_cast<std::uint32_t>(element));
}

torch::Tensor dropout_factors(const PackedLayout& layout, std::int64_t width, const DropoutSite& site) {
    torch::Tensor factors = torch::empty({layout.rows(), width}, torch::kFloat32);
    float* to = factors.mutable_data_ptr<float>();
    for_each_row(layout, site, width, [&](std::int64_t row, const DropoutRow& dropout) {
        dropout_factors_row(dropout, to + row * width, width);
    });
    return factors;
}

torch::Tensor attention_dropout_factors(const DropoutSite& site, std::int64_t sample_position, std::int64_t heads,
                                        std::int64_t length) {
    torch::Tensor factors = torch::empty({heads, length, length}, torch::kFloat32);
    float* to = factors.mutable_data_ptr<float>();
    const std::uint64_t sample_key = dropout_sample_key(site, sample_position);
    parallel_for(0, heads * length, std::max<std::int64_t>(1, elements_per_thread / length),
                 [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t row = begin; row < end; ++row) {
                         const std::uint64_t key = dropout_row_key(sample_key, row % length, row / length);
                         dropout_factors_row(row_of(site, key), to + row * length, length);
                     }
                 });
    return factors;
}

torch::Tensor packed_dropout(const torch::Tensor& x, const LayoutPointer& layout,
                             const std::optional<DropoutSite>& site) {
    return drops(site) ? PackedDropout::apply(x, std::optional<torch::Tensor>(), layout, *site) : x;
}

torch::Tensor packed_dropout_add(const torch::Tensor& x, const torch::Tensor& residual, const LayoutPointer& layout,
                                 const std::optional<DropoutSite>& site) {
    return drops(site) ? PackedDropout::apply(x, std::optional<torch::Tensor>(residual), layout, *site) : residual + x;
}

}  // namespace strata::models
