#include "models/tensor_run.h"

#include <cstring>

#include "core/error.h"
#include "core/round_up.h"

namespace strata::models {
namespace {

constexpr std::int64_t alignment = 16;  // of every tensor: vector loads

}  // namespace

TensorRun::TensorRun(const std::vector<torch::Tensor>& like) {
    for (const torch::Tensor& tensor : like) {
        const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
        places_.push_back({tensor.scalar_type(), tensor.sizes().vec(), bytes_, bytes});
        bytes_ += round_up(bytes, alignment);
    }
}

void TensorRun::write(const std::vector<torch::Tensor>& tensors, std::byte* to) const {
    STRATA_CHECK(tensors.size() == places_.size(), "{} tensors for {} places", tensors.size(), places_.size());
    for (std::size_t i = 0; i < places_.size(); ++i) {
        const Place& place = places_[i];
        const torch::Tensor tensor = tensors[i].contiguous();
        STRATA_CHECK(tensor.is_cpu() && tensor.scalar_type() == place.type && tensor.sizes() == place.shape,
                     "tensor {} is not like the one that its place was made for", i);
        if (place.bytes > 0)
            std::memcpy(to + place.begin, tensor.const_data_ptr(), static_cast<std::size_t>(place.bytes));
    }
}

std::vector<torch::Tensor> TensorRun::views(const torch::Tensor& run) const {
    std::vector<torch::Tensor> tensors;
    for (const Place& place : places_)
        tensors.push_back(run.narrow(0, place.begin, place.bytes).view(place.type).view(place.shape));
    return tensors;
}

}  // namespace strata::models
