#include <torch/types.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "models/safetensors.h"
#include "models/safetensors_dtype.h"

namespace strata::models {
namespace {

std::string header_text(std::span<const TensorOutline> outlines, const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header;
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t begin = 0;
    for (const TensorOutline& outline : outlines) {
        const std::string_view dtype = dtype_name(outline.dtype);
        STRATA_CHECK(!dtype.empty(), "tensor '{}' has a type that safetensors has not", outline.name);
        STRATA_CHECK(!header.contains(outline.name), "two tensors named '{}'", outline.name);
        const std::uint64_t end = begin + outline.bytes();
        header[outline.name] = {{"dtype", dtype}, {"shape", outline.shape}, {"data_offsets", {begin, end}}};
        begin = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned in a map of the file
    return text;
}

}  // namespace

std::int64_t TensorOutline::elements() const {
    std::int64_t product = 1;
    for (const std::int64_t dimension : shape) product *= dimension;
    return product;
}

std::uint64_t TensorOutline::bytes() const {
    return static_cast<std::uint64_t>(elements()) * torch::elementSize(dtype);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorOutline> outlines,
                       const MakeTensor& make, const std::map<std::string, std::string>& metadata) {
    const std::string header = header_text(outlines, metadata);
    AtomicFile file(path);
    unsigned char length[8];
    for (std::size_t i = 0; i < sizeof(length); ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
    file.write(length, sizeof(length));
    file.write(header.data(), header.size());
    for (const TensorOutline& outline : outlines) {
        const torch::Tensor whole = make(outline).detach().cpu().contiguous();
        STRATA_CHECK(whole.nbytes() == outline.bytes(), "tensor '{}' is not what was announced", outline.name);
        file.write(whole.const_data_ptr(), whole.nbytes());
    }
    file.commit();
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    std::vector<TensorOutline> outlines;
    for (const auto& [name, tensor] : tensors) outlines.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
    std::size_t next = 0;
    const MakeTensor make = [&](const TensorOutline&) { return tensors[next++].second; };
    write_safetensors(path, outlines, make, metadata);
}

}  // namespace strata::models
