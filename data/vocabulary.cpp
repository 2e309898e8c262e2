#include "data/vocabulary.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace strata::data {

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& prefix, const std::string& source)
    : tokens_(std::move(tokens)) {
    words_.ids.reserve(tokens_.size());
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const std::string_view token = tokens_[i];
        const auto id = static_cast<std::int32_t>(i);
        if (token.empty()) {
            has_empty_ = true;
            continue;
        }
        if (const auto earlier = this->id(token)) {
            user_error("{}:{}: the token '{}' is already on line {}; every token has one id, so remove one of the two",
                       source, i + 1, token, *earlier + 1);
        }
        words_.insert(token, id);
        if (token.size() > prefix.size() && token.starts_with(prefix)) {
            continuations_.insert(token.substr(prefix.size()), id);
        }
    }
    if (words_.ids.empty()) {
        user_error("{}: holds no tokens; a vocabulary has one token a line, for instance that of the model's origin",
                   source);
    }
}

std::optional<std::int32_t> Vocabulary::id(std::string_view token) const {
    const auto found = words_.ids.find(token);
    if (found == words_.ids.end()) return std::nullopt;
    return found->second;
}

bool Vocabulary::append_pieces(std::string_view word, std::vector<std::int32_t>& ids) const {
    const std::size_t before = ids.size();
    for (std::size_t at = 0; at < word.size();) {
        const auto [length, id] = (at == 0 ? words_ : continuations_).longest_match(word.substr(at));
        if (length == 0) {
            ids.resize(before);
            return false;
        }
        ids.push_back(id);
        at += length;
    }
    return true;
}

void Vocabulary::Pieces::insert(std::string_view piece, std::int32_t id) {
    ids.emplace(piece, id);
    longest = std::max(longest, piece.size());
}

std::pair<std::size_t, std::int32_t> Vocabulary::Pieces::longest_match(std::string_view text) const {
    for (std::size_t length = std::min(text.size(), longest); length > 0; --length) {
        const bool inside_character = length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80;
        if (inside_character) continue;
        const auto found = ids.find(text.substr(0, length));
        if (found != ids.end()) return {length, found->second};
    }
    return {0, 0};
}

}  // namespace strata::data
