#include <torch/types.h>

#include <cmath>
#include <numbers>

#include "models/hf_folder.h"
#include "optim/mix.h"

namespace strata::models {

torch::Tensor keyed_normal(const std::vector<std::int64_t>& shape, double deviation, std::uint64_t seed,
                           const std::string& name) {
    torch::Tensor tensor = torch::empty(shape, torch::kFloat32);
    float* to = tensor.mutable_data_ptr<float>();
    const std::uint64_t key = optim::seeded_key(seed, optim::name_key(name));
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
        // Box and Muller: two uniform numbers, the first never 0, give one normal number.
        const std::uint64_t bits = optim::mix64(key + static_cast<std::uint64_t>(i));
        const double radius = (static_cast<double>(bits >> 32) + 0.5) / 4294967296.0;
        const double turn = static_cast<double>(bits & 0xFFFFFFFFULL) / 4294967296.0;
        to[i] = static_cast<float>(deviation * std::sqrt(-2.0 * std::log(radius)) *
                                   std::cos(2.0 * std::numbers::pi * turn));
    }
    return tensor;
}

}  // namespace strata::models
