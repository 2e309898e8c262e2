// The tokens of vocab.txt and of tokenizer.json's WordPiece model, in the order of their ids.
// Errors: UserError naming file, line and remedy.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace strata::data {

/// One token a line; white space at its end is cut off. Empty lines take an id but hold no token.
std::vector<std::string> read_vocabulary_file(const std::filesystem::path& path);

/// `vocab`: an object from token to id, or a list of tokens. Ids that no token has give empty tokens.
std::vector<std::string> tokens_of_json(const nlohmann::json& vocab, const std::filesystem::path& path);

}  // namespace strata::data
