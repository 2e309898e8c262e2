#include "models/flash_attention.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_forward.h>

#include <mutex>
#include <vector>

#include "models/sent.h"

namespace strata::models {
namespace {

/// From here on the device's generator gives this site's numbers.
void seed_generator(torch::Device device, std::uint64_t key) {
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    generator.set_current_seed(key);
}

}  // namespace

bool flash_attention_can(const torch::Tensor& q, std::int64_t heads) {
    const std::int64_t head_size = q.size(1) / heads;
    return q.is_cuda() && c10::isReducedFloatingType(q.scalar_type()) && head_size % 8 == 0 && head_size <= 256;
}

torch::Tensor flash_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout) {
    const std::vector<int> borders(layout.offsets.begin(), layout.offsets.end());
    const torch::Tensor offsets = sent(torch::tensor(borders, torch::kInt32), q.device());
    const bool first_only = q.size(0) != layout.rows();
    const torch::Tensor query_offsets = first_only ? torch::arange(layout.sequences() + 1, offsets.options()) : offsets;
    const auto by_head = [heads](const torch::Tensor& packed) { return packed.view({packed.size(0), heads, -1}); };
    const double probability = dropout ? dropout->probability : 0.0;
    if (probability > 0.0) seed_generator(q.device(), dropout_sample_key(*dropout, layout.sample_positions.front()));
    const auto outcome = at::_flash_attention_forward(by_head(q), by_head(k), by_head(v), query_offsets, offsets,
                                                      first_only ? 1 : layout.longest, layout.longest, probability,
                                                      /*is_causal=*/false, /*return_debug_mask=*/false);
    return std::get<0>(outcome).view(q.sizes());
}

}  // namespace strata::models
