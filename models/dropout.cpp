#include "models/dropout.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "core/error.h"
#include "models/cuda_queue.h"
#include "models/dropout_grid.h"
#include "models/dropout_kernel.h"
#include "models/dropout_rows.h"
#include "models/kernel_data.h"
#include "models/parallel.h"
#include "models/sent.h"

namespace strata::models {
namespace {

std::uint64_t step_key(const DropoutKey& key) {
    return optim::seeded_key(key.seed, static_cast<std::uint64_t>(key.step));
}

torch::Tensor apply_on_gpu(const torch::Tensor& x, const PackedLayout& layout, const DropoutSite& site) {
    torch::Tensor out = torch::empty_like(x);
    for_cuda_type(x, [&](auto type) {
        using T = decltype(type);
        run_cuda_pass(DropoutPass<T>{x.size(0), x.size(1), data_of<T>(x), mutable_data_of<T>(out),
                                     dropout_places(layout, site, x.device())},
                      cuda_queue_of(x));
    });
    return out;
}

/// factors * x
torch::Tensor apply_factors(const torch::Tensor& x, const PackedLayout& layout, const DropoutSite& site) {
    STRATA_CHECK(x.dim() == 2 && x.size(0) == layout.rows(), "dropout over {} rows of a layout with {}", x.size(0),
                 layout.rows());
    const std::int64_t width = x.size(1);
    if (cuda_kernel_can(x)) return apply_on_gpu(x.contiguous(), layout, site);
    if (!kernel_can(x)) return x * dropout_factors(layout, width, site).to(x.options());
    const torch::Tensor source = x.contiguous();
    torch::Tensor out = torch::empty_like(source);
    const DropoutRows dropouts(layout, site);
    for_kernel_type(x, [&](auto type) {
        using T = decltype(type);
        const T* from = data_of<T>(source);
        T* to = mutable_data_of<T>(out);
        parallel_rows(layout.rows(), width, [&](std::int64_t row) {
            dropout_row(dropouts[row], from + row * width, to + row * width, width);
        });
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
                                 const LayoutPointer& layout, const DropoutSite& site) {
        RECORD_USER_SCOPE("PackedDropout");
        context->saved_data["dropout"] = torch::IValue::make_capsule(c10::make_intrusive<Remembered>(layout, site));
        return apply_factors(x, *layout, site);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto capsule = context->saved_data["dropout"].toCapsule();
        const auto& dropout = static_cast<const Remembered&>(*capsule);
        return {apply_factors(grads[0], *dropout.layout, dropout.site), {}, {}};
    }
};

}  // namespace

bool drops(const std::optional<DropoutSite>& site) {
    STRATA_CHECK(!site || (site->probability >= 0.0 && site->probability < 1.0), "dropout probability {}",
                 site ? site->probability : 0.0);
    return site && site->probability > 0.0;
}

DropoutRow dropout_row_of(const DropoutSite& site, std::uint64_t row_key) {
    return {row_key, dropout_threshold(site.probability), static_cast<float>(1.0 / (1.0 - site.probability))};
}

DropoutRows::DropoutRows(const PackedLayout& layout, const DropoutSite& site) : layout_(layout) {
    const DropoutRow any = dropout_row_of(site, 0);
    threshold_ = any.threshold;
    scale_ = any.scale;
    sample_keys_.reserve(layout.sample_positions.size());
    for (const std::int64_t position : layout.sample_positions)
        sample_keys_.push_back(dropout_sample_key(site, position));
}

torch::Tensor step_key_tensor(const DropoutKey& key) {
    return torch::tensor({static_cast<std::int64_t>(step_key(key))}, torch::kInt64);
}

DropoutKey key_on(DropoutKey key, torch::Device device) {
    key.there = sent(step_key_tensor(key), device);
    return key;
}

DropoutPlaces dropout_places(const PackedLayout& layout, const DropoutSite& site, torch::Device device) {
    const torch::Tensor& key = site.key.there;
    STRATA_CHECK(key.defined() && key.device() == device, "the step's key does not lie where masks are made");
    const DropoutRow any = dropout_row_of(site, 0);
    return {layout.on(device).places.const_data_ptr<std::int64_t>(),
            static_cast<const std::uint64_t*>(key.const_data_ptr()), site.id, any.threshold, any.scale};
}

std::uint64_t dropout_sample_key(const DropoutSite& site, std::int64_t sample_position) {
    return dropout_sample_key_of(dropout_site_key_of(step_key(site.key), site.id), sample_position);
}

std::uint64_t dropout_row_key(std::uint64_t sample_key, std::int64_t token, std::int64_t head) {
    return dropout_row_key_of(sample_key, token, head);
}

float dropout_factor(const DropoutSite& site, std::uint64_t row_key, std::int64_t element) {
    return dropout_factor_of(dropout_row_of(site, row_key), static_cast<std::uint32_t>(element));
}

torch::Tensor dropout_factors(const PackedLayout& layout, std::int64_t width, const DropoutSite& site) {
    torch::Tensor factors = torch::empty({layout.rows(), width}, torch::kFloat32);
    float* to = factors.mutable_data_ptr<float>();
    const DropoutRows dropouts(layout, site);
    parallel_rows(layout.rows(), width,
                  [&](std::int64_t row) { dropout_factors_row(dropouts[row], to + row * width, width); });
    return factors;
}

torch::Tensor attention_dropout_factors(const DropoutSite& site, std::int64_t sample_position, std::int64_t heads,
                                        std::int64_t length) {
    torch::Tensor factors = torch::empty({heads, length, length}, torch::kFloat32);
    float* to = factors.mutable_data_ptr<float>();
    const std::uint64_t sample_key = dropout_sample_key(site, sample_position);
    parallel_rows(heads * length, length, [&](std::int64_t row) {
        const std::uint64_t key = dropout_row_key(sample_key, row % length, row / length);
        dropout_factors_row(dropout_row_of(site, key), to + row * length, length);
    });
    return factors;
}

torch::Tensor packed_dropout(const torch::Tensor& x, const LayoutPointer& layout,
                             const std::optional<DropoutSite>& site) {
    if (widens(x) && drops(site)) return packed_dropout(widened(x), layout, site).to(x.scalar_type());
    return drops(site) ? PackedDropout::apply(x, layout, *site) : x;
}

}  // namespace strata::models
