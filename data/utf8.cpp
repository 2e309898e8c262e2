#include "data/utf8.h"

#include <cstdint>
#include <cstring>

namespace strata::data {
namespace {

struct Lead {
    std::size_t length;     // bytes in the sequence; 0: no sequence begins so
    unsigned char low = 0;  // what the second byte may be
    unsigned char high = 0;
};

Lead lead_of(unsigned char byte) {
    if (byte < 0x80) return {1};
    if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};  // below would be overlong
    if (byte == 0xED) return {3, 0x80, 0x9F};  // above would be surrogates
    if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};  // below would be overlong
    if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};  // above would be beyond U+10FFFF
    return {0};
}

bool valid_sequence(std::string_view text, std::size_t at, const Lead& lead) {
    if (lead.length == 0 || at + lead.length > text.size()) return false;
    for (std::size_t i = 1; i < lead.length; ++i) {
        const auto byte = static_cast<unsigned char>(text[at + i]);
        const unsigned char low = i == 1 ? lead.low : 0x80;
        const unsigned char high = i == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) return false;
    }
    return true;
}

bool next_eight_are_ascii(std::string_view text, std::size_t at) {
    if (at + 8 > text.size()) return false;
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, sizeof(bytes));
    return (bytes & 0x8080808080808080u) == 0;
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        if (next_eight_are_ascii(text, at)) {
            at += 8;
            continue;
        }
        const Lead lead = lead_of(static_cast<unsigned char>(text[at]));
        if (!valid_sequence(text, at, lead)) return at;
        at += lead.length;
    }
    return std::nullopt;
}

std::string latin1_to_utf8(std::string_view text) {
    std::string utf8;
    utf8.reserve(text.size() + text.size() / 8);
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            utf8 += c;
        } else {
            utf8 += static_cast<char>(0xC0 | (byte >> 6));
            utf8 += static_cast<char>(0x80 | (byte & 0x3F));
        }
    }
    return utf8;
}

}  // namespace strata::data
