#include "data/bert_normalizer.h"

#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "core/error.h"
#include "data/code_points.h"
#include "data/lower_case.h"

namespace strata::data {
namespace {

constexpr UChar32 capital_i_with_dot = 0x130;
constexpr UChar32 combining_dot_above = 0x307;

bool is_ascii(char byte) {
    return static_cast<unsigned char>(byte) < 0x80;
}

void append_utf8(UChar32 code_point, std::string& out) {
    char bytes[U8_MAX_LENGTH];
    int length = 0;
    U8_APPEND_UNSAFE(bytes, length, code_point);
    out.append(bytes, static_cast<std::size_t>(length));
}

/// The code points that the library's own NFD knows (Unicode 9). To it a later mark has no combining class, so it never
/// moves, and no later character comes apart. ICU's filter treats what is outside the set in just this way.
std::unique_ptr<const icu::UnicodeSet> unicode_9() {
    UErrorCode status = U_ZERO_ERROR;
    auto set = std::make_unique<icu::UnicodeSet>(icu::UnicodeString("[:Age=9.0:]"), status);
    if (U_FAILURE(status)) system_error("ICU cannot list Unicode 9's characters: {}", u_errorName(status));
    set->freeze();
    return set;
}

std::unique_ptr<const icu::Normalizer2> make_decomposer(const icu::UnicodeSet& filter) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(status);
    if (U_FAILURE(status)) system_error("ICU has no canonical decomposition: {}", u_errorName(status));
    return std::make_unique<icu::FilteredNormalizer2>(*nfd, filter);
}

}  // namespace

BertNormalizer::BertNormalizer(const NormalizerOptions& options)
    : options_(options), forms_([this](UChar32 code_point) { return make_form(code_point); }) {}

const icu::Normalizer2& BertNormalizer::decomposer() const {
    std::call_once(decomposer_made_, [this] {
        decomposable_ = unicode_9();
        decomposer_ = make_decomposer(*decomposable_);
    });
    return *decomposer_;
}

/// Whether a mark that stays in the text is among what the code point comes apart into: canonical ordering may move it
/// past its neighbours. The marks that are stripped may move as they like.
bool BertNormalizer::moves_in_order(UChar32 code_point) const {
    icu::UnicodeString parts;
    if (!decomposer().getDecomposition(code_point, parts)) parts = icu::UnicodeString(code_point);
    for (std::int32_t at = 0; at < parts.length();) {
        const UChar32 part = parts.char32At(at);
        at += U16_LENGTH(part);
        if (classes_.of(part) != CodePointClass::nonspacing_mark && decomposer().getCombiningClass(part) != 0)
            return true;
    }
    return false;
}

NormalForm BertNormalizer::make_form(UChar32 code_point) const {
    NormalForm form;
    form.kind = NormalForm::Kind::unknown;
    if (U_IS_SURROGATE(code_point) || (options_.strip_accents && moves_in_order(code_point))) return form;
    std::string text;
    append_utf8(code_point, text);
    const std::string normalized = normalize(text);
    if (normalized.empty()) {
        form.kind = NormalForm::Kind::nothing;
        return form;
    }
    std::string_view only_word;
    int words = 0;
    for_each_word(normalized, [&](std::string_view word, std::size_t characters) {
        ++words;
        only_word = word;
        form.characters = static_cast<std::uint8_t>(characters);
    });
    if (words == 0) form.kind = NormalForm::Kind::space;
    if (words != 1 || only_word.size() > NormalForm::most_bytes) return form;
    const UChar32 first = first_code_point(only_word).value;
    const bool separated = only_word.size() < normalized.size();
    const bool whole = normalized.front() == ' ' && normalized.back() == ' ';
    if (separated && !whole) return form;
    form.kind = separated || classes_.of(first) == CodePointClass::punctuation ? NormalForm::Kind::alone
                                                                               : NormalForm::Kind::part;
    form.size = static_cast<std::uint8_t>(only_word.size());
    only_word.copy(form.bytes.data(), only_word.size());
    return form;
}

std::string BertNormalizer::normalize(std::string_view text) const {
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    for (std::size_t at = 0; at < text.size();) {
        const char byte = text[at];
        if (!is_ascii(byte)) {
            // An ASCII character that stays neither moves in NFD nor lets marks pass: the run up to it is on its own.
            std::size_t end = at + 1;
            while (end < text.size() && (!is_ascii(text[end]) || is_removed(text[end]))) ++end;
            append_run(text.substr(at, end - at), out);
            at = end;
            continue;
        }
        ++at;
        if (is_removed(byte)) continue;
        if (options_.clean_text && classes_.of(byte) == CodePointClass::whitespace) {
            out += ' ';
        } else {
            out += options_.lower_case && byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
        }
    }
    return out;
}

bool BertNormalizer::is_removed(UChar32 code_point) const {
    const CodePointClass kind = classes_.of(code_point);
    return options_.clean_text && (kind == CodePointClass::control || kind == CodePointClass::control_whitespace);
}

void BertNormalizer::append_run(std::string_view run, std::string& out) const {
    icu::UnicodeString pending;  // waits for the decomposition, which looks at neighbours
    const auto emit = [&](UChar32 code_point) {
        if (options_.strip_accents) {
            pending.append(code_point);
        } else {
            append_cased(code_point, out);
        }
    };
    for (std::size_t at = 0; at < run.size();) {
        UChar32 code_point = 0;
        U8_NEXT_UNSAFE(run.data(), at, code_point);
        if (is_removed(code_point)) continue;
        const CodePointClass kind = classes_.of(code_point);
        if (options_.clean_text && kind == CodePointClass::whitespace) {
            emit(' ');
        } else if (options_.separate_chinese && kind == CodePointClass::chinese) {
            emit(' ');
            emit(code_point);
            emit(' ');
        } else {
            emit(code_point);
        }
    }
    if (!pending.isEmpty()) append_decomposed(pending, out);
}

void BertNormalizer::append_decomposed(const icu::UnicodeString& text, std::string& out) const {
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString decomposed = decomposer().normalize(text, status);
    if (U_FAILURE(status)) system_error("ICU cannot decompose a text: {}", u_errorName(status));
    for (std::int32_t at = 0; at < decomposed.length();) {
        const UChar32 code_point = decomposed.char32At(at);
        at += U16_LENGTH(code_point);
        if (classes_.of(code_point) != CodePointClass::nonspacing_mark) append_cased(code_point, out);
    }
}

void BertNormalizer::append_cased(UChar32 code_point, std::string& out) const {
    if (!options_.lower_case) {
        append_utf8(code_point, out);
    } else if (code_point == capital_i_with_dot) {
        out += 'i';
        append_utf8(combining_dot_above, out);
    } else {
        append_utf8(simple_lower_case(code_point), out);
    }
}

}  // namespace strata::data
