// Text as the WordPiece model wants it: cleaned, Chinese characters apart, accents stripped, lower case.
//
// The steps and their order are Hugging Face's BertNormalizer's (tokenizers, normalizers/bert.rs); for_each_word() is
// its BertPreTokenizer. Text is valid UTF-8; everything is const and may be called from many threads at once.
#pragma once

#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/utf8.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "data/code_point_classes.h"
#include "data/normal_forms.h"

namespace strata::data {

struct NormalizerOptions {
    bool clean_text = true;        // drop control characters; any whitespace becomes a space
    bool separate_chinese = true;  // a space on either side of every CJK ideograph
    bool strip_accents = true;     // canonical decomposition (NFD) without its nonspacing marks
    bool lower_case = true;        // Rust's char::to_lowercase: each code point by itself, so no final sigma
};

class BertNormalizer {
  public:
    explicit BertNormalizer(const NormalizerOptions& options);

    std::string normalize(std::string_view text) const;

    /// What a code point becomes on its own, if its neighbours have no say in that.
    const NormalForm& form_of(UChar32 code_point) const { return forms_.of(code_point); }
    const NormalizerOptions& options() const { return options_; }

    /// Calls word(std::string_view, characters) for each word of normalised text: parted by whitespace; every
    /// punctuation character is a word.
    template <typename Word>
    void for_each_word(std::string_view normalized, Word&& word) const;

  private:
    const icu::Normalizer2& decomposer() const;
    NormalForm make_form(UChar32 code_point) const;
    bool moves_in_order(UChar32 code_point) const;
    bool is_removed(UChar32 code_point) const;
    void append_run(std::string_view run, std::string& out) const;
    void append_decomposed(const icu::UnicodeString& text, std::string& out) const;
    void append_cased(UChar32 code_point, std::string& out) const;

    NormalizerOptions options_;
    CodePointClasses classes_;
    NormalForms forms_;
    // Made for the first text that is not ASCII. FilteredNormalizer2 keeps a reference to the set, so it lives on the
    // heap and before it.
    mutable std::once_flag decomposer_made_;
    mutable std::unique_ptr<const icu::UnicodeSet> decomposable_;
    mutable std::unique_ptr<const icu::Normalizer2> decomposer_;
};

template <typename Word>
void BertNormalizer::for_each_word(std::string_view normalized, Word&& word) const {
    std::size_t begin = 0;
    std::size_t characters = 0;
    const auto finish_word = [&](std::size_t end) {
        if (characters > 0) word(normalized.substr(begin, end - begin), characters);
        characters = 0;
    };
    for (std::size_t at = 0; at < normalized.size();) {
        const std::size_t start = at;
        UChar32 code_point = 0;
        U8_NEXT_UNSAFE(normalized.data(), at, code_point);
        const CodePointClass kind = classes_.of(code_point);
        if (kind == CodePointClass::whitespace || kind == CodePointClass::control_whitespace) {
            finish_word(start);
        } else if (kind == CodePointClass::punctuation) {
            finish_word(start);
            word(normalized.substr(start, at - start), std::size_t{1});
        } else {
            if (characters++ == 0) begin = start;
        }
    }
    finish_word(normalized.size());
}

}  // namespace strata::data
