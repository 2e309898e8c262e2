#include <torch/types.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/new_folder.h"
#include "models/hf_folder.h"

namespace strata::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* index_name = "model.safetensors.index.json";

/// `source`'s config.json, saying what type its weights have.
std::string config_text(const fs::path& source, torch::ScalarType dtype) {
    const fs::path path = source / "config.json";
    std::error_code error;
    if (!fs::exists(path, error)) {
        user_error(
            "{}: has no config.json, so it is no Hugging Face model; of a TorchScript module, model.pt is what other "
            "programs load",
            source.string());
    }
    json config = json::parse(read_file(path), nullptr, false);
    if (!config.is_object()) user_error("{}: is not a JSON object", path.string());
    const std::string name = dtype == torch::kFloat32 ? "float32" : dtype == torch::kBFloat16 ? "bfloat16" : "float16";
    config["torch_dtype"] = name;
    if (config.contains("dtype")) config["dtype"] = name;  // what younger versions of transformers call it
    return config.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

/// The tensor as the folder has it. Rounds to nearest even, as torch does.
torch::Tensor converted(const torch::Tensor& tensor, const TensorOutline& outline) {
    if (tensor.scalar_type() == outline.dtype) return tensor;
    const torch::Tensor result = tensor.to(outline.dtype);
    if (!torch::equal(torch::isfinite(result), torch::isfinite(tensor))) {
        user_error("tensor '{}' has numbers up to {:.4g}, which {} cannot hold; choose another dtype", outline.name,
                   tensor.abs().max().item<double>(), torch::toString(outline.dtype));
    }
    return result;
}

std::string shard_name(std::size_t index, std::size_t count) {
    return count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string index_text(const std::vector<std::vector<TensorOutline>>& shards) {
    std::int64_t parameters = 0;
    std::uint64_t bytes = 0;
    json map = json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
        for (const TensorOutline& tensor : shards[i]) {
            map[tensor.name] = shard_name(i, shards.size());
            bytes += tensor.bytes();
            parameters += tensor.elements();
        }
    }
    const json index = {{"metadata", {{"total_parameters", parameters}, {"total_size", bytes}}}, {"weight_map", map}};
    return index.dump(2) + "\n";
}

}  // namespace

std::vector<std::vector<TensorOutline>> split_into_shards(std::span<const TensorOutline> tensors,
                                                          std::uint64_t max_shard_bytes) {
    std::vector<std::vector<TensorOutline>> shards;
    std::vector<TensorOutline> open;
    std::uint64_t open_bytes = 0;
    for (const TensorOutline& tensor : tensors) {
        if (tensor.bytes() > max_shard_bytes) {
            shards.push_back({tensor});
            continue;
        }
        if (open_bytes + tensor.bytes() > max_shard_bytes) {
            shards.push_back(std::exchange(open, {}));
            open_bytes = 0;
        }
        open.push_back(tensor);
        open_bytes += tensor.bytes();
    }
    if (!open.empty() || shards.empty()) shards.push_back(std::move(open));
    return shards;
}

std::uint64_t parse_shard_size(const std::string& text, const std::string& where) {
    constexpr std::pair<std::string_view, double> units[] = {
        {"", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}};
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    std::string unit;
    for (const char* at = rest; at != end; ++at) {
        if (*at != ' ') unit += static_cast<char>(std::toupper(static_cast<unsigned char>(*at)));
    }
    for (const auto& [name, factor] : units) {
        const double bytes = number * factor;
        if (error == std::errc() && unit == name && bytes >= 1 && bytes < 1e18)
            return static_cast<std::uint64_t>(bytes);
    }
    user_error("{}: '{}' is not a size; write it as 5GB, 200MB or in bytes", where, text);
}

void export_folder(const fs::path& folder, const FolderExport& content) {
    const std::string config = config_text(content.source, content.dtype);
    NewFolder unfinished(folder);
    std::vector<TensorOutline> outlines = content.tensors;
    for (TensorOutline& outline : outlines) {
        if (torch::isFloatingType(outline.dtype)) outline.dtype = content.dtype;
    }
    const auto make = [&](const TensorOutline& outline) { return converted(content.make(outline), outline); };
    const auto shards = split_into_shards(outlines, content.max_shard_bytes);
    for (std::size_t i = 0; i < shards.size(); ++i) {
        write_safetensors(unfinished.path() / shard_name(i, shards.size()), shards[i], make);
    }
    if (shards.size() > 1) write_file_atomically(unfinished.path() / index_name, index_text(shards));
    copy_tokenizer(content.source, unfinished.path());
    write_file_atomically(unfinished.path() / "config.json", config);
    unfinished.commit();
}

}  // namespace strata::models
