// The parts of Hugging Face's tokenizer.json, and of the JSON files beside it, that a BERT tokenizer consists of.
// Errors: UserError naming the file, what is unsupported and what to do.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/tokenizer_config.h"

namespace strata::data {

// Keys in the file's order, which decides the ids of added tokens. For small objects: each key is a linear search.
using Json = nlohmann::ordered_json;

/// The file's object. Throws UserError naming file and line where it is not JSON.
Json read_json(const std::filesystem::path& path);

/// The string under `key`, or `fallback` where there is none.
std::string string_or(const Json& object, const char* key, const std::string& fallback);

/// A token written as a string or as an object with "content" and flags.
AddedToken added_token_of(const Json& value, bool special, const std::filesystem::path& path);

/// tokenizer.json: the WordPiece model's tokens, and all the rest.
struct TokenizerJson {
    std::vector<std::string> tokens;  // in the order of their ids
    Json rest;                        // without model.vocab
};
TokenizerJson read_tokenizer_json(const std::filesystem::path& path);

std::vector<AddedToken> added_tokens_of_json(const Json& tokenizer, const std::filesystem::path& path);

/// Model, normaliser, pre-tokenizer and post-processor as tokenizer.json has them. Anything but BERT's is an error.
void read_pipeline(const Json& tokenizer, const std::filesystem::path& path, TokenizerConfig& config);

}  // namespace strata::data
