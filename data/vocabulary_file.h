// The tokens of vocab.txt and of tokenizer.json's WordPiece model, in the order of their ids.
// Errors: UserError naming file, line and remedy.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace strata::data {

/// One token a line; white space at its end is cut off. Empty lines take an id but hold no token.
std::vector<std::string> read_vocabulary_file(const std::filesystem::path& path);

/// The tokens of a JSON list of strings.
std::vector<std::string> tokens_of_list(const nlohmann::ordered_json& list, const std::filesystem::path& path);

/// The tokens of a JSON object from token to id, one entry after the other. Ids that no token has give empty tokens.
class TokensById {
  public:
    explicit TokensById(std::filesystem::path path) : path_(std::move(path)) {}
    void add(const std::string& token, const nlohmann::ordered_json& id);
    std::vector<std::string> take() { return std::move(tokens_); }

  private:
    std::filesystem::path path_;
    std::vector<std::string> tokens_;
    std::vector<bool> taken_;
};

}  // namespace strata::data
