#include "dist/shared_buffers.h"

#include <algorithm>

#include "core/error.h"

namespace strata::dist {

SharedBuffers::SharedBuffers(const NamedParameters& buffers, Communicator& communicator) : communicator_(communicator) {
    for (const auto& [name, tensor] : buffers) {
        STRATA_CHECK(tensor.device().is_cpu(), "buffer {} is not on the CPU", name);
        (tensor.is_floating_point() ? floating_ : others_).push_back(tensor);
    }
    adopt();
}

void SharedBuffers::adopt() {
    before_.clear();
    for (const auto* part : {&floating_, &others_}) {
        for (const torch::Tensor& tensor : *part) before_.push_back(tensor.detach().clone());
    }
}

void SharedBuffers::settle(std::int64_t samples, bool skipped) {
    if (before_.empty()) return;
    const torch::NoGradGuard no_grad;
    if (skipped) {
        auto before = before_.begin();
        for (auto* part : {&floating_, &others_}) {
            for (torch::Tensor& tensor : *part) tensor.copy_(*before++);
        }
        return;
    }
    if (communicator_.size() > 1) {
        average(samples);
        take_last_ranks();
    }
    adopt();
}

/// Products with small counts and sums of equal products are exact in double, so equal values come back unchanged.
void SharedBuffers::average(std::int64_t samples) {
    if (floating_.empty()) return;
    std::vector<double> sums;
    for (const torch::Tensor& tensor : floating_) {
        const torch::Tensor values = tensor.to(torch::kFloat64).contiguous();
        const double* begin = values.const_data_ptr<double>();
        // A rank without samples adds nothing, whatever its values.
        for (std::int64_t i = 0; i < values.numel(); ++i)
            sums.push_back(samples > 0 ? begin[i] * static_cast<double>(samples) : 0.0);
    }
    sums.push_back(static_cast<double>(samples));
    communicator_.all_reduce_sum(std::span(sums));
    const double total = sums.back();
    STRATA_CHECK(total > 0, "an update of no samples");
    double* at = sums.data();
    for (torch::Tensor& tensor : floating_) {
        std::for_each(at, at + tensor.numel(), [total](double& value) { value /= total; });
        tensor.copy_(torch::from_blob(at, tensor.sizes(), torch::kFloat64));
        at += tensor.numel();
    }
}

void SharedBuffers::take_last_ranks() {
    std::vector<std::byte> bytes;
    for (const torch::Tensor& tensor : others_) {
        const torch::Tensor values = tensor.contiguous();
        const auto* begin = static_cast<const std::byte*>(values.const_data_ptr());
        bytes.insert(bytes.end(), begin, begin + values.nbytes());
    }
    if (bytes.empty()) return;
    communicator_.broadcast(bytes, communicator_.size() - 1);
    std::byte* at = bytes.data();
    for (torch::Tensor& tensor : others_) {
        tensor.copy_(torch::from_blob(at, tensor.sizes(), tensor.scalar_type()));
        at += tensor.nbytes();
    }
}

}  // namespace strata::dist
