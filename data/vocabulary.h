// A WordPiece vocabulary: tokens by id, ids by token, and a word cut into its longest pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace strata::data {

class Vocabulary {
  public:
    /// `tokens` in the order of their ids; an empty one is an id without a token. Throws UserError, naming `source` and
    /// line, for a token that is there twice, and when there is none at all. `prefix` ("##") begins the pieces that go
    /// on with a word.
    Vocabulary(std::vector<std::string> tokens, const std::string& prefix, const std::string& source);
    Vocabulary(const Vocabulary&) = delete;  // the maps' keys are views of the tokens
    Vocabulary& operator=(const Vocabulary&) = delete;

    std::size_t size() const { return tokens_.size(); }
    /// The library's own size, after which it numbers added tokens: ids without a token count once altogether.
    std::size_t distinct_tokens() const { return words_.ids.size() + (has_empty_ ? 1 : 0); }
    const std::string& token(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
    std::optional<std::int32_t> id(std::string_view token) const;

    /// Appends the ids of the longest pieces from left to right. False, and nothing appended, when a rest has none.
    bool append_pieces(std::string_view word, std::vector<std::int32_t>& ids) const;

  private:
    /// Pieces of one kind. Longest match by trying the lengths that exist, longest first.
    struct Pieces {
        std::unordered_map<std::string_view, std::int32_t> ids;
        std::size_t longest = 0;  // in bytes: no lookup beyond it can succeed

        void insert(std::string_view piece, std::int32_t id);
        /// Bytes and id of the longest piece that `text` begins with; 0 bytes when there is none.
        std::pair<std::size_t, std::int32_t> longest_match(std::string_view text) const;
    };

    std::vector<std::string> tokens_;
    bool has_empty_ = false;
    Pieces words_;          // every token as it is written
    Pieces continuations_;  // the tokens with the prefix, less the prefix
};

}  // namespace strata::data
