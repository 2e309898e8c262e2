#include "models/flash_attention.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_forward.h>

#include <mutex>

namespace strata::models {
namespace {

constexpr std::int64_t attention_site = -2;  // of all calls of a step together

}  // namespace

void seed_flash_attention(torch::Device device, const DropoutKey& key, std::int64_t first_position) {
    if (!device.is_cuda()) return;
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    generator.set_current_seed(dropout_sample_key({key, attention_site, 0.0}, first_position));
}

bool flash_attention_takes(std::int64_t head_size) {
    return head_size % 8 == 0 && head_size <= 256;
}

bool flash_attention_can(const torch::Tensor& q, std::int64_t heads) {
    return q.is_cuda() && c10::isReducedFloatingType(q.scalar_type()) && flash_attention_takes(q.size(1) / heads);
}

torch::Tensor flash_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout) {
    const torch::Tensor offsets = layout.on(q.device()).borders;
    const bool first_only = q.size(0) != layout.rows();
    const torch::Tensor query_offsets = first_only ? torch::arange(layout.sequences() + 1, offsets.options()) : offsets;
    const auto by_head = [heads](const torch::Tensor& packed) { return packed.view({packed.size(0), heads, -1}); };
    const double probability = dropout ? dropout->probability : 0.0;
    const auto outcome = at::_flash_attention_forward(by_head(q), by_head(k), by_head(v), query_offsets, offsets,
                                                      first_only ? 1 : layout.longest, layout.longest, probability,
                                                      /*is_causal=*/false, /*return_debug_mask=*/false);
    return std::get<0>(outcome).view(q.sizes());
}

}  // namespace strata::models
