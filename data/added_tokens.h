// Finds whole tokens, such as [MASK], in running text before it is cut into words.
//
// Leftmost match, of those the longest, with the flags of Hugging Face's AddedToken (tokenizers,
// tokenizer/added_vocabulary.rs). Text is valid UTF-8.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_config.h"

namespace strata::data {

class AddedTokenFinder {
  public:
    struct Pattern {
        std::string text;  // what to look for: the content, or its normalised form
        std::int32_t id;
        AddedToken token;
    };
    struct Piece {
        std::string_view text;
        std::optional<std::int32_t> id;  // empty: ordinary text between added tokens
    };

    /// `skip_special`: special tokens in the text are ordinary text (split_special_tokens).
    explicit AddedTokenFinder(std::vector<Pattern> patterns, bool skip_special = false);

    /// The text in order, without empty pieces.
    std::vector<Piece> split(std::string_view text) const;

    bool empty() const { return patterns_.empty(); }

    /// False for most ordinary text: no byte of it begins an added token.
    bool may_find(std::string_view text) const;

  private:
    const Pattern* match_at(std::string_view text) const;

    std::vector<Pattern> patterns_;           // longest first
    std::array<bool, 256> begins_pattern_{};  // by first byte, so that ordinary text costs one lookup a byte
    std::string first_bytes_;                 // the same as a list
    bool skip_special_;
};

}  // namespace strata::data
