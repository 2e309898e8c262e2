// WordPiece as its definition reads, slowly: what data/wordpiece must give. Every word takes the longest piece that the
// vocabulary has, again and again, or is [UNK].
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bert_normalizer.h"
#include "data/tokenizer_config.h"

namespace strata::data {

/// Without added tokens.
class GreedyWordPiece {
  public:
    GreedyWordPiece(const std::vector<std::string>& tokens, const TokenizerConfig& config)
        : config_(config),
          normalizer_({config.clean_text, config.tokenize_chinese_chars,
                       config.strip_accents.value_or(config.do_lower_case), config.do_lower_case}) {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const auto id = static_cast<std::int32_t>(i);
            const std::string& prefix = config.continuing_prefix;
            if (tokens[i].empty()) continue;
            begins_.emplace(tokens[i], id);
            if (tokens[i].size() > prefix.size() && tokens[i].starts_with(prefix)) {
                goes_on_.emplace(tokens[i].substr(prefix.size()), id);
            }
        }
    }

    std::vector<std::int32_t> tokenize(std::string_view text) const {
        std::vector<std::int32_t> ids;
        normalizer_.for_each_word(normalizer_.normalize(text), [&](std::string_view word, std::size_t characters) {
            const std::size_t before = ids.size();
            if (static_cast<std::int64_t>(characters) <= config_.max_input_chars_per_word && cut(word, ids)) return;
            ids.resize(before);
            ids.push_back(begins_.at(config_.unk_token));
        });
        return ids;
    }

  private:
    using Ids = std::unordered_map<std::string, std::int32_t>;

    bool cut(std::string_view word, std::vector<std::int32_t>& ids) const {
        const Ids* pieces = &begins_;
        while (!word.empty()) {
            std::size_t length = word.size();
            while (length > 0 &&
                   !(ends_character(word, length) && pieces->contains(std::string(word.substr(0, length)))))
                --length;
            if (length == 0) return false;
            ids.push_back(pieces->at(std::string(word.substr(0, length))));
            word.remove_prefix(length);
            pieces = &goes_on_;
        }
        return true;
    }

    static bool ends_character(std::string_view text, std::size_t length) {
        return length == text.size() || (static_cast<unsigned char>(text[length]) & 0xC0) != 0x80;
    }

    TokenizerConfig config_;
    BertNormalizer normalizer_;
    Ids begins_;
    Ids goes_on_;
};

}  // namespace strata::data
