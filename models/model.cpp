#include "models/model.h"

#include <algorithm>

#include "core/error.h"

namespace strata::models {

std::uint64_t Model::folder_bytes() const {
    constexpr std::uint64_t room_for_headers = 256u << 10;
    std::uint64_t bytes = room_for_headers;
    for (const NamedTensors& list : {named_parameter_list(), named_buffer_list()}) {
        // What is computed in 16 bits is written as fp32.
        for (const auto& [name, tensor] : list) bytes += std::max(tensor.nbytes(), 4 * std::size_t(tensor.numel()));
    }
    return bytes;
}

torch::Tensor Model::fixed_part(const Input&) {
    STRATA_CHECK(false, "this model has no part that is fixed");
    return {};
}

torch::Tensor Model::forward_from(const FixedInput&, const std::optional<DropoutKey>&) {
    STRATA_CHECK(false, "this model has no part that is fixed");
    return {};
}

}  // namespace strata::models
