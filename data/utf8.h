// UTF-8 as bytes: whether it is valid, and Latin-1 turned into it. No library is needed for that.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace strata::data {

/// Offset of the first byte that is not part of valid UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates,
/// nothing above U+10FFFF), or nothing.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// Each byte taken as the code point of its number (ISO 8859-1).
std::string latin1_to_utf8(std::string_view text);

}  // namespace strata::data
