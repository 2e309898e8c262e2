// A WordPiece vocabulary: tokens by id, ids by token, and a word cut into its longest pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/piece_table.h"
#include "data/piece_trie.h"

namespace strata::data {

class Vocabulary {
  public:
    /// `tokens` in the order of their ids; an empty one is an id without a token. Throws UserError, naming `source` and
    /// line, for a token that is there twice, and when there is none at all. `prefix` ("##") begins the pieces that go
    /// on with a word.
    Vocabulary(std::vector<std::string> tokens, const std::string& prefix, const std::string& source);
    Vocabulary(const Vocabulary&) = delete;  // the table's keys are views of the tokens
    Vocabulary& operator=(const Vocabulary&) = delete;

    std::size_t size() const { return tokens_.size(); }
    /// The library's own size, after which it numbers added tokens: ids without a token count once altogether.
    std::size_t distinct_tokens() const { return words_.size() + (has_empty_ ? 1 : 0); }
    const std::string& token(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
    std::optional<std::int32_t> id(std::string_view token) const;

    /// Appends the ids of the longest pieces from left to right. False, and nothing appended, when a rest has none.
    /// `word` is valid UTF-8, not empty, and 16 bytes may be read from its beginning.
    bool append_padded_word(std::string_view word, std::vector<std::int32_t>& ids) const {
        if (const auto whole = words_.find_padded(word)) {
            ids.push_back(*whole);
            return true;
        }
        return trie_.append_pieces(word, ids);
    }
    /// The same for a word with nothing behind it.
    bool append_word(std::string_view word, std::vector<std::int32_t>& ids) const {
        return trie_.append_pieces(word, ids);
    }

  private:
    std::vector<std::string> tokens_;
    bool has_empty_ = false;
    PieceTable words_;  // every token as it is written
    PieceTrie trie_;    // the same, and the tokens with the prefix, less the prefix, to go on with
};

}  // namespace strata::data
