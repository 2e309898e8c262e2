// WordPiece as Hugging Face's fast BERT tokenizer does it, id for id: added tokens are cut out of the text, the rest is
// normalised (data/bert_normalizer.h), split at whitespace and punctuation, and each word becomes the longest pieces of
// the vocabulary from left to right, or [UNK].
//
// Text is UTF-8. Everything is const and may be called from many threads at once.
// Errors: UserError for a folder that holds no usable vocabulary (naming file, line and remedy) and for text that is
// not UTF-8 (naming the byte; callers that know the file and line check with data/utf8.h first).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_config.h"

namespace strata::data {

class WordPieceTokenizer {
  public:
    struct Encoding {
        std::vector<std::int32_t> ids;          // [CLS] a [SEP], or [CLS] a [SEP] b [SEP]
        std::vector<std::int32_t> token_types;  // 0 up to and with the first [SEP], then 1
    };

    /// Reads vocab.txt and tokenizer_config.json, or tokenizer.json, the way transformers' AutoTokenizer does
    /// (data/tokenizer_files.h).
    static WordPieceTokenizer from_folder(const std::filesystem::path& folder);

    /// `tokens` in the order of their ids. `source` is named in errors.
    WordPieceTokenizer(std::vector<std::string> tokens, TokenizerConfig config, const std::string& source);

    /// The text's ids without [CLS] and [SEP].
    std::vector<std::int32_t> tokenize(std::string_view text) const;

    /// With [CLS] and [SEP]. Truncated to `max_seq_length` in all (at least the number of special tokens: 2, or 3 with
    /// a pair) as `truncation=True` does: of a pair, the longer text gives first. An empty pair is a pair still: [CLS]
    /// a [SEP] [SEP].
    Encoding encode(std::string_view text, std::optional<std::string_view> pair, std::int64_t max_seq_length) const;

    /// The same, appended to `ids`. Returns how many of them are of type 0.
    std::size_t append(std::string_view text, std::optional<std::string_view> pair, std::int64_t max_seq_length,
                       std::vector<std::int32_t>& ids) const;

    /// Ids are below this number, added tokens included.
    std::size_t vocab_size() const;
    /// The id of an added token or a vocabulary entry, "##" included.
    std::optional<std::int32_t> id(std::string_view token) const;
    /// The token of an id below vocab_size(); empty for an id that no token has.
    std::string token(std::int32_t id) const;

    /// Everything that decides ids, as bytes: tokenizers with the same give every text the same.
    std::string identity() const;

    std::int32_t unk_id() const;
    std::int32_t cls_id() const;
    std::int32_t sep_id() const;
    std::optional<std::int32_t> pad_id() const;
    std::optional<std::int32_t> mask_id() const;
    const TokenizerConfig& config() const;

  private:
    struct State;
    std::shared_ptr<const State> state_;  // immutable: copies share it
};

}  // namespace strata::data
