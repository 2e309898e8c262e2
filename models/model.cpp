#include "models/model.h"

namespace strata::models {

std::uint64_t Model::folder_bytes() const {
    constexpr std::uint64_t room_for_headers = 256u << 10;
    std::uint64_t bytes = room_for_headers;
    for (const NamedTensors& list : {named_parameter_list(), named_buffer_list()}) {
        for (const auto& [name, tensor] : list) bytes += tensor.nbytes();
    }
    return bytes;
}

}  // namespace strata::models
