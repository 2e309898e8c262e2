// What each code point is to the BERT tokenizer: one of seven classes, looked up in constant time.
//
// The classes are those of the Rust crates inside Hugging Face's tokenizers (Unicode 8's categories, and Rust's
// White_Space), frozen in code_point_classes.inc: ICU's own categories differ for newer characters and change with
// every release, which would change ids.
#pragma once

#include <unicode/ucptrie.h>

#include <cstdint>

namespace strata::data {

enum class CodePointClass : std::uint8_t {
    other,
    control,             // Cc, Cf, Co, U+0000 and U+FFFD: cleaning removes it
    whitespace,          // cleaning makes it a space
    control_whitespace,  // VT, FF and NEL: cleaning removes it, yet uncleaned it parts words
    chinese,             // a word of its own where tokenize_chinese_chars is on
    punctuation,         // ASCII's symbols and the categories P*: a word of its own
    nonspacing_mark,     // Mn: goes with the accents
};

/// Immutable once made; any number of threads may read it.
class CodePointClasses {
  public:
    CodePointClasses();

    CodePointClass of(UChar32 code_point) const {
        return static_cast<CodePointClass>(UCPTRIE_FAST_GET(trie_.getAlias(), UCPTRIE_8, code_point));
    }

  private:
    icu::LocalUCPTriePointer trie_;
};

}  // namespace strata::data
