#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "models/safetensors.h"
#include "models/safetensors_dtype.h"

namespace strata::models {
namespace {

std::string header_text(const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                        const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header;
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t begin = 0;
    for (const auto& [name, tensor] : tensors) {
        const std::string_view dtype = dtype_name(tensor.scalar_type());
        STRATA_CHECK(!dtype.empty(), "tensor '{}' has a type that safetensors has not", name);
        STRATA_CHECK(!header.contains(name), "two tensors named '{}'", name);
        const std::uint64_t end = begin + tensor.nbytes();
        header[name] = {{"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
        begin = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned in a map of the file
    return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    const std::string header = header_text(tensors, metadata);
    AtomicFile file(path);
    unsigned char length[8];
    for (std::size_t i = 0; i < sizeof(length); ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
    file.write(length, sizeof(length));
    file.write(header.data(), header.size());
    for (const auto& [name, tensor] : tensors) {
        const torch::Tensor whole = tensor.detach().cpu().contiguous();
        file.write(whole.const_data_ptr(), whole.nbytes());
    }
    file.commit();
}

}  // namespace strata::models
