#include "data/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <utility>

#include "data/code_points.h"

namespace strata::data {
namespace {

/// \w of Rust's regular expressions.
bool is_word_character(UChar32 c) {
    constexpr std::uint32_t categories = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
    return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
           (U_GET_GC_MASK(c) & categories) != 0;
}

bool is_space(UChar32 c) {
    return u_hasBinaryProperty(c, UCHAR_WHITE_SPACE);
}

bool stands_alone(std::string_view before, std::string_view after) {
    if (!before.empty() && is_word_character(last_code_point(before).value)) return false;
    return after.empty() || !is_word_character(first_code_point(after).value);
}

/// Bytes of white space at the end.
std::size_t trailing_space(std::string_view text) {
    std::size_t bytes = 0;
    while (bytes < text.size()) {
        const CodePoint last = last_code_point(text.substr(0, text.size() - bytes));
        if (!is_space(last.value)) break;
        bytes += last.bytes;
    }
    return bytes;
}

std::size_t leading_space(std::string_view text) {
    std::size_t bytes = 0;
    while (bytes < text.size()) {
        const CodePoint first = first_code_point(text.substr(bytes));
        if (!is_space(first.value)) break;
        bytes += first.bytes;
    }
    return bytes;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<Pattern> patterns, bool skip_special)
    : patterns_(std::move(patterns)), skip_special_(skip_special) {
    std::erase_if(patterns_, [](const Pattern& pattern) { return pattern.text.empty(); });
    std::stable_sort(patterns_.begin(), patterns_.end(),
                     [](const Pattern& a, const Pattern& b) { return a.text.size() > b.text.size(); });
    for (const auto& pattern : patterns_) begins_pattern_[static_cast<unsigned char>(pattern.text[0])] = true;
    for (std::size_t byte = 0; byte < begins_pattern_.size(); ++byte) {
        if (begins_pattern_[byte]) first_bytes_ += static_cast<char>(byte);
    }
}

bool AddedTokenFinder::may_find(std::string_view text) const {
    for (const char byte : first_bytes_) {
        if (text.find(byte) != std::string_view::npos) return true;
    }
    return false;
}

const AddedTokenFinder::Pattern* AddedTokenFinder::match_at(std::string_view text) const {
    if (!begins_pattern_[static_cast<unsigned char>(text[0])]) return nullptr;
    for (const auto& pattern : patterns_) {
        if (text.starts_with(pattern.text)) return &pattern;
    }
    return nullptr;
}

std::vector<AddedTokenFinder::Piece> AddedTokenFinder::split(std::string_view text) const {
    std::vector<Piece> pieces;
    std::size_t done = 0;  // everything before it is in a piece
    for (std::size_t at = 0; at < text.size();) {
        const Pattern* pattern = match_at(text.substr(at));
        if (pattern == nullptr) {
            ++at;
            continue;
        }
        std::size_t begin = at;
        std::size_t end = at + pattern->text.size();
        at = end;  // also after a match that is turned down: none begins inside another
        if (skip_special_ && pattern->token.special) continue;
        if (pattern->token.single_word && !stands_alone(text.substr(0, begin), text.substr(end))) continue;
        if (pattern->token.strip_left) begin = std::max(begin - trailing_space(text.substr(0, begin)), done);
        if (pattern->token.strip_right) end += leading_space(text.substr(end));
        if (done < begin) pieces.push_back({text.substr(done, begin - done), std::nullopt});
        pieces.push_back({text.substr(begin, end - begin), pattern->id});
        done = end;
    }
    if (done < text.size()) pieces.push_back({text.substr(done), std::nullopt});
    return pieces;
}

}  // namespace strata::data
