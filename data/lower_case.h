// Lower case as Rust's char::to_lowercase has it: a code point by itself, no context, no language.
#pragma once

#include <unicode/utypes.h>

namespace strata::data {

/// The lower case of every code point but U+0130 (I with a dot), whose lower case is the two code points i and U+0307.
UChar32 simple_lower_case(UChar32 code_point);

}  // namespace strata::data
