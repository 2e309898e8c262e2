// Random tensors and layouts for the tests of kernels.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "models/dropout.h"
#include "models/packed_input.h"

namespace strata::models::testing {

inline const DropoutKey key{7, 3};

inline torch::Tensor random_tensor(torch::IntArrayRef shape, std::uint64_t seed) {
    torch::Generator generator = torch::make_generator<at::CPUGeneratorImpl>(seed);
    return torch::randn(shape, generator);
}

inline double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
    return (a.detach() - b.detach()).abs().max().item<double>();
}

inline LayoutPointer layout_of(const std::vector<std::int64_t>& lengths, std::int64_t first_position = 0) {
    std::vector<std::int64_t> offsets{0}, positions;
    for (const std::int64_t length : lengths) {
        offsets.push_back(offsets.back() + length);
        positions.push_back(first_position++);
    }
    return make_layout(offsets, positions);
}

}  // namespace strata::models::testing
