#include "data/vocabulary.h"

#include <utility>

#include "core/error.h"
#include "data/utf8.h"

namespace strata::data {
namespace {

/// The tokens that a text can hold: one that is not UTF-8 is found in none.
PieceTrie make_trie(const std::vector<std::string>& tokens, const std::string& prefix) {
    std::vector<PieceTrie::Piece> beginnings;
    std::vector<PieceTrie::Piece> continuations;
    beginnings.reserve(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::string_view token = tokens[i];
        if (token.empty() || find_invalid_utf8(token)) continue;
        const auto id = static_cast<std::int32_t>(i);
        beginnings.push_back({token, id});
        if (token.size() > prefix.size() && token.starts_with(prefix)) {
            continuations.push_back({token.substr(prefix.size()), id});
        }
    }
    return {std::move(beginnings), std::move(continuations)};
}

PieceTable make_table(const std::vector<std::string>& tokens, const std::string& source) {
    PieceTable table(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::string_view token = tokens[i];
        if (token.empty() || table.insert(token, static_cast<std::int32_t>(i))) continue;
        user_error("{}:{}: the token '{}' is already on line {}; every token has one id, so remove one of the two",
                   source, i + 1, token, *table.find(token) + 1);
    }
    if (table.size() == 0) {
        user_error("{}: holds no tokens; a vocabulary has one token a line, for instance that of the model's origin",
                   source);
    }
    return table;
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& prefix, const std::string& source)
    : tokens_(std::move(tokens)), words_(make_table(tokens_, source)), trie_(make_trie(tokens_, prefix)) {
    for (const auto& token : tokens_) has_empty_ = has_empty_ || token.empty();
}

std::optional<std::int32_t> Vocabulary::id(std::string_view token) const {
    return words_.find(token);
}

}  // namespace strata::data
