#include "models/weight_files.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace strata::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Tensor name to shard name, from an index. Shards lie in the folder itself: a name with a slash is refused.
std::map<std::string, std::string> read_index(const fs::path& index) {
    const std::string where = index.string();
    json parsed;
    try {
        parsed = json::parse(read_file(index));
    } catch (const json::exception& error) {
        user_error("{}: not valid JSON: {}", where, error.what());
    }
    if (!parsed.is_object() || !parsed.contains("weight_map") || !parsed.at("weight_map").is_object()) {
        user_error("{}: there is no weight_map", where);
    }
    std::map<std::string, std::string> shards;
    for (const auto& [name, file] : parsed.at("weight_map").items()) {
        if (!file.is_string() || file.get<std::string>().empty() ||
            file.get<std::string>().find('/') != std::string::npos) {
            user_error("{}: tensor '{}' is not mapped to the name of a file beside the index", where, name);
        }
        shards[name] = file.get<std::string>();
    }
    return shards;
}

/// Transformers' class that loads all of the folder, its head too (AutoModel leaves heads out).
std::string class_of(const fs::path& folder) {
    const fs::path config = folder / "config.json";
    const json parsed = fs::exists(config) ? json::parse(read_file(config), nullptr, false) : json();
    const json names = parsed.is_object() ? parsed.value("architectures", json()) : json();
    if (!names.is_array() || names.empty() || !names[0].is_string()) return "AutoModel";
    const std::string name = names[0].get<std::string>();
    // What a user is told to run holds no more than a name.
    const bool is_name = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
    return is_name && !name.empty() ? name : "AutoModel";
}

[[noreturn]] void refuse_folder(const fs::path& folder) {
    if (fs::exists(folder / "pytorch_model.bin")) {
        const std::string loader = class_of(folder);
        user_error(
            "{}: only pytorch_model.bin is here; strata reads safetensors. Convert it once with: python -c \"from "
            "transformers import {}; {}.from_pretrained('{}').save_pretrained('{}')\"",
            folder.string(), loader, loader, folder.string(), folder.string());
    }
    user_error("{}: neither model.safetensors nor model.safetensors.index.json is here", folder.string());
}

}  // namespace

WeightFiles::WeightFiles(const fs::path& folder) {
    if (fs::exists(folder / "model.safetensors")) {
        files_.emplace_back(folder / "model.safetensors");
        for (const auto& [name, info] : files_.front().tensors()) tensors_[name] = &files_.front();
    } else if (fs::exists(folder / "model.safetensors.index.json")) {
        open_shards(folder, folder / "model.safetensors.index.json");
    } else {
        refuse_folder(folder);
    }
}

void WeightFiles::open_shards(const fs::path& folder, const fs::path& index) {
    const auto shard_of = read_index(index);
    std::map<std::string, std::size_t> opened;
    for (const auto& [name, shard] : shard_of) {
        if (!opened.contains(shard)) {
            opened[shard] = files_.size();
            files_.emplace_back(folder / shard);
        }
    }
    for (const auto& [name, shard] : shard_of) {
        const SafetensorsFile& file = files_[opened.at(shard)];
        if (!file.tensors().contains(name)) {
            user_error("{}: tensor '{}' should be in {}, which does not have it; fetch the folder again",
                       index.string(), name, shard);
        }
        tensors_[name] = &file;
    }
}

}  // namespace strata::models
