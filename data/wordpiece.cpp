#include "data/wordpiece.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "data/added_tokens.h"
#include "data/ascii_words.h"
#include "data/bert_normalizer.h"
#include "data/tokenizer_files.h"
#include "data/utf8.h"
#include "data/vocabulary.h"

namespace strata::data {
namespace {

NormalizerOptions normalizer_options(const TokenizerConfig& config) {
    return {config.clean_text, config.tokenize_chinese_chars, config.strip_accents.value_or(config.do_lower_case),
            config.do_lower_case};
}

struct NumberedToken {
    AddedToken token;
    std::int32_t id;
};

/// The vocabulary's ids; for what it lacks, the next ones.
std::vector<NumberedToken> number_added_tokens(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary) {
    std::vector<NumberedToken> numbered;
    auto next_id = static_cast<std::int32_t>(vocabulary.distinct_tokens());
    for (const auto& token : tokens) {
        const auto known = vocabulary.id(token.content);
        if (!known && token.implied) continue;
        numbered.push_back({token, known ? *known : next_id});
        if (!known) ++next_id;
    }
    return numbered;
}

AddedTokenFinder make_finder(const std::vector<NumberedToken>& tokens, bool normalized,
                             const BertNormalizer& normalizer, bool skip_special) {
    std::vector<AddedTokenFinder::Pattern> patterns;
    for (const auto& [token, id] : tokens) {
        if (token.normalized != normalized) continue;
        patterns.push_back({normalized ? normalizer.normalize(token.content) : token.content, id, token});
    }
    return AddedTokenFinder(std::move(patterns), skip_special);
}

/// How many tokens of a and b stay so that they are `room` together: the longer one gives until both are equal, and of
/// an odd room the one that was longer (b, if neither was) keeps one more (tokenizers, utils/truncation.rs).
std::pair<std::size_t, std::size_t> longest_first(std::size_t a, std::size_t b, std::size_t room) {
    if (a + b <= room) return {a, b};
    const std::size_t shorter = std::min(a, b);
    const std::size_t kept_shorter = std::min(shorter, room / 2);
    const std::size_t kept_longer = room - kept_shorter;
    return a > b ? std::pair{kept_longer, kept_shorter} : std::pair{kept_shorter, kept_longer};
}

/// Keeps so many of the ids from `begin` on, those at the left or at the right end.
void truncate(std::vector<std::int32_t>& ids, std::size_t begin, std::size_t keep, bool from_left) {
    const std::size_t excess = ids.size() - begin - keep;
    if (excess == 0) return;
    const auto cut =
        from_left ? ids.begin() + static_cast<std::ptrdiff_t>(begin) : ids.end() - static_cast<std::ptrdiff_t>(excess);
    ids.erase(cut, cut + static_cast<std::ptrdiff_t>(excess));
}

/// The word that is being read, normalised, with room behind it for PieceTable's keys.
struct WordBuffer {
    bool append(const NormalForm& form) {
        if (size + form.size > most) return false;
        std::memcpy(bytes + size, form.bytes.data(), form.bytes.size());
        size += form.size;
        characters += form.characters;
        return true;
    }
    std::string_view text() const { return {bytes, size}; }
    void clear() { size = characters = 0; }

    static constexpr std::size_t most = 512;
    char bytes[most + 16];
    std::size_t size = 0;
    std::size_t characters = 0;
};

}  // namespace

struct WordPieceTokenizer::State {
    State(std::vector<std::string> tokens, TokenizerConfig settings, const std::string& source)
        : config(std::move(settings)),
          vocabulary(std::move(tokens), config.continuing_prefix, source),
          normalizer(normalizer_options(config)),
          added(number_added_tokens(config.added_tokens, vocabulary)),
          raw_finder(make_finder(added, false, normalizer, config.split_special_tokens)),
          normalized_finder(make_finder(added, true, normalizer, config.split_special_tokens)),
          longest_word(static_cast<std::size_t>(config.max_input_chars_per_word)) {
        unk = required(vocabulary.id(config.unk_token), config.unk_token, "unk_token", source);
        cls = required(id_of(config.cls_token), config.cls_token, "cls_token", source);
        sep = required(id_of(config.sep_token), config.sep_token, "sep_token", source);
        for (const auto& token : added) id_limit = std::max(id_limit, static_cast<std::size_t>(token.id) + 1);
        id_limit = std::max(id_limit, vocabulary.size());
    }

    static std::int32_t required(std::optional<std::int32_t> id, const std::string& token, const char* role,
                                 const std::string& source) {
        if (id) return *id;
        user_error(
            "{}: has no token '{}', which is the {}; take the vocabulary that belongs to the model, or name the right "
            "token in tokenizer_config.json",
            source, token, role);
    }

    std::optional<std::int32_t> id_of(std::string_view content) const {
        for (const auto& [token, id] : added) {
            if (token.content == content) return id;
        }
        return vocabulary.id(content);
    }

    void append_tokens(std::string_view text, std::vector<std::int32_t>& ids) const {
        if (const auto byte = find_invalid_utf8(text)) {
            user_error("the text is not valid UTF-8 at byte {}; if it is Latin-1, say --encoding latin1", *byte + 1);
        }
        if (!raw_finder.may_find(text)) return append_text(text, ids);
        for (const auto& piece : raw_finder.split(text)) {
            if (piece.id) {
                ids.push_back(*piece.id);
            } else {
                append_text(piece.text, ids);
            }
        }
    }

    /// The ids of valid UTF-8 without added tokens that are sought in the text as it was written.
    void append_text(std::string_view text, std::vector<std::int32_t>& ids) const {
        if (!normalized_finder.empty()) return append_normalized(text, ids);
        while (!text.empty()) {
            AsciiWords words;
            const std::size_t taken = words.load(text, config.do_lower_case);
            if (taken == 0) return append_any(text, ids);
            words.for_each([&](std::string_view word) { append_padded(word, word.size(), ids); });
            text.remove_prefix(taken);
        }
    }

    /// Code point by code point, as long as none depends on its neighbours; then by normalising the text as a whole.
    void append_any(std::string_view text, std::vector<std::int32_t>& ids) const {
        const std::size_t before = ids.size();
        WordBuffer word;
        const auto finish = [&] {
            if (word.characters > 0) append_padded(word.text(), word.characters, ids);
            word.clear();
        };
        for (std::size_t at = 0; at < text.size();) {
            UChar32 code_point = 0;
            U8_NEXT_UNSAFE(text.data(), at, code_point);
            const NormalForm& form = normalizer.form_of(code_point);
            if (form.kind == NormalForm::Kind::part && word.append(form)) continue;
            if (form.kind == NormalForm::Kind::nothing) continue;
            if (form.kind == NormalForm::Kind::unknown || form.kind == NormalForm::Kind::part) {
                ids.resize(before);
                return append_normalized(text, ids);
            }
            finish();
            if (form.kind == NormalForm::Kind::alone) {
                word.append(form);
                finish();
            }
        }
        finish();
    }

    void append_normalized(std::string_view text, std::vector<std::int32_t>& ids) const {
        const std::string normalized = normalizer.normalize(text);
        for (const auto& piece : normalized_finder.split(normalized)) {
            if (piece.id) {
                ids.push_back(*piece.id);
                continue;
            }
            normalizer.for_each_word(piece.text, [&](std::string_view word, std::size_t characters) {
                if (characters > longest_word || !vocabulary.append_word(word, ids)) ids.push_back(unk);
            });
        }
    }

    void append_padded(std::string_view word, std::size_t characters, std::vector<std::int32_t>& ids) const {
        if (characters > longest_word || !vocabulary.append_padded_word(word, ids)) ids.push_back(unk);
    }

    TokenizerConfig config;
    Vocabulary vocabulary;
    BertNormalizer normalizer;
    std::vector<NumberedToken> added;
    AddedTokenFinder raw_finder;
    AddedTokenFinder normalized_finder;
    std::size_t longest_word;
    std::int32_t unk = 0;
    std::int32_t cls = 0;
    std::int32_t sep = 0;
    std::size_t id_limit = 0;
};

WordPieceTokenizer WordPieceTokenizer::from_folder(const std::filesystem::path& folder) {
    auto files = read_tokenizer_files(folder);
    return {std::move(files.tokens), std::move(files.config), files.source.string()};
}

WordPieceTokenizer::WordPieceTokenizer(std::vector<std::string> tokens, TokenizerConfig config,
                                       const std::string& source)
    : state_(std::make_shared<const State>(std::move(tokens), std::move(config), source)) {}

std::vector<std::int32_t> WordPieceTokenizer::tokenize(std::string_view text) const {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size() / 4);
    state_->append_tokens(text, ids);
    return ids;
}

WordPieceTokenizer::Encoding WordPieceTokenizer::encode(std::string_view text, std::optional<std::string_view> pair,
                                                        std::int64_t max_seq_length) const {
    Encoding encoding;
    encoding.ids.reserve((text.size() + (pair ? pair->size() : 0)) / 4 + 3);
    const std::size_t first = append(text, pair, max_seq_length, encoding.ids);
    encoding.token_types.assign(first, 0);
    encoding.token_types.resize(encoding.ids.size(), 1);
    return encoding;
}

std::size_t WordPieceTokenizer::append(std::string_view text, std::optional<std::string_view> pair,
                                       std::int64_t max_seq_length, std::vector<std::int32_t>& ids) const {
    const std::int64_t specials = pair ? 3 : 2;
    if (max_seq_length < specials) {
        user_error("max_seq_length is {}, but [CLS] and [SEP] alone are {} tokens; give a larger one", max_seq_length,
                   specials);
    }
    const auto room = static_cast<std::size_t>(max_seq_length - specials);
    const bool from_left = state_->config.truncate_left;
    const std::size_t start = ids.size();
    ids.push_back(state_->cls);
    state_->append_tokens(text, ids);
    if (!pair) {
        truncate(ids, start + 1, std::min(ids.size() - start - 1, room), from_left);
        ids.push_back(state_->sep);
        return ids.size() - start;
    }
    auto b = tokenize(*pair);
    const auto [keep_a, keep_b] = longest_first(ids.size() - start - 1, b.size(), room);
    truncate(ids, start + 1, keep_a, from_left);
    truncate(b, 0, keep_b, from_left);
    ids.push_back(state_->sep);
    const std::size_t first = ids.size() - start;
    ids.insert(ids.end(), b.begin(), b.end());
    ids.push_back(state_->sep);
    return first;
}

std::size_t WordPieceTokenizer::vocab_size() const {
    return state_->id_limit;
}

std::optional<std::int32_t> WordPieceTokenizer::id(std::string_view token) const {
    return state_->id_of(token);
}

std::string WordPieceTokenizer::token(std::int32_t id) const {
    for (const auto& added : state_->added) {
        if (added.id == id) return added.token.content;
    }
    STRATA_CHECK(id >= 0 && static_cast<std::size_t>(id) < state_->id_limit, "id {} of {}", id, state_->id_limit);
    return static_cast<std::size_t>(id) < state_->vocabulary.size() ? state_->vocabulary.token(id) : std::string();
}

std::string WordPieceTokenizer::identity() const {
    const TokenizerConfig& config = state_->config;
    std::string bytes;
    const auto add = [&](std::string_view part) {
        bytes.append(std::to_string(part.size())).append(1, ':').append(part);
    };
    const auto add_number = [&](std::int64_t number) { add(std::to_string(number)); };
    for (std::size_t i = 0; i < state_->vocabulary.size(); ++i)
        add(state_->vocabulary.token(static_cast<std::int32_t>(i)));
    for (const bool flag :
         {config.clean_text, config.do_lower_case, config.strip_accents.value_or(config.do_lower_case),
          config.tokenize_chinese_chars, config.split_special_tokens, config.truncate_left}) {
        add_number(flag);
    }
    add_number(config.max_input_chars_per_word);
    add(config.continuing_prefix);
    for (const std::int32_t id : {state_->unk, state_->cls, state_->sep}) add_number(id);
    for (const auto& [token, id] : state_->added) {
        add(token.content);
        add_number(id);
        for (const bool flag :
             {token.special, token.normalized, token.single_word, token.strip_left, token.strip_right}) {
            add_number(flag);
        }
    }
    return bytes;
}

std::int32_t WordPieceTokenizer::unk_id() const {
    return state_->unk;
}
std::int32_t WordPieceTokenizer::cls_id() const {
    return state_->cls;
}
std::int32_t WordPieceTokenizer::sep_id() const {
    return state_->sep;
}
std::optional<std::int32_t> WordPieceTokenizer::pad_id() const {
    return id(state_->config.pad_token);
}
std::optional<std::int32_t> WordPieceTokenizer::mask_id() const {
    return id(state_->config.mask_token);
}
const TokenizerConfig& WordPieceTokenizer::config() const {
    return state_->config;
}

}  // namespace strata::data
