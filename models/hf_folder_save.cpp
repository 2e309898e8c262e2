#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "core/file.h"
#include "models/hf_folder.h"
#include "models/safetensors.h"

namespace strata::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* tokenizer_files[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json", "added_tokens.json"};

}  // namespace

void copy_tokenizer(const fs::path& source, const fs::path& folder) {
    std::error_code ignored;
    if (source.empty() || fs::equivalent(source, folder, ignored)) return;
    for (const char* name : tokenizer_files) {
        if (fs::exists(source / name)) write_file_atomically(folder / name, MappedFile(source / name).text());
    }
}

void write_model_folder(const fs::path& folder, const NamedTensors& tensors, const fs::path& tokenizer_source) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure) system_error("{}: the folder cannot be made: {}", folder.string(), failure.message());
    write_safetensors(folder / "model.safetensors", tensors);
    copy_tokenizer(tokenizer_source, folder);
}

void save_model(const fs::path& folder, const NamedTensors& parameters, const BertConfig& config,
                const fs::path& tokenizer_source) {
    write_model_folder(folder, parameters, tokenizer_source);
    // The configuration comes last: a folder is not taken for a model before its weights are there.
    const std::string text = config.to_json().dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    write_file_atomically(folder / "config.json", text);
}

}  // namespace strata::models
