// One code point at either end of valid, non-empty UTF-8.
#pragma once

#include <unicode/utf8.h>

#include <cstddef>
#include <string_view>

namespace strata::data {

struct CodePoint {
    UChar32 value;
    std::size_t bytes;
};

inline CodePoint first_code_point(std::string_view text) {
    std::size_t at = 0;
    UChar32 value = 0;
    U8_NEXT_UNSAFE(text.data(), at, value);
    return {value, at};
}

inline CodePoint last_code_point(std::string_view text) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && U8_IS_TRAIL(text[begin])) --begin;
    return first_code_point(text.substr(begin));
}

}  // namespace strata::data
