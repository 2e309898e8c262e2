// The quick ways through a text against the definition, on random vocabularies and random texts.
#include <gmock/gmock.h>

#include <random>
#include <set>

#include "data/dataset.h"
#include "data/token_sequences.h"
#include "data/tokenizer_files.h"
#include "data/wordpiece.h"
#include "tests/data/greedy_wordpiece.h"
#include "tests/data/tokenizer_fixtures.h"

namespace strata::data {
namespace {

using Random = std::mt19937;

std::size_t below(Random& random, std::size_t limit) {
    return random() % limit;
}

std::string utf8(UChar32 code_point) {
    char bytes[U8_MAX_LENGTH];
    std::size_t size = 0;
    U8_APPEND_UNSAFE(bytes, size, code_point);
    return {bytes, size};
}

UChar32 any_code_point(Random& random) {
    // Plain letters, the marks that canonical ordering moves, composed letters, and everything else.
    static const UChar32 awkward[] = {0x301,  0x323,  0x302E, 0x302F,  0x1B44,  0xA953, 0x1D165, 0x130,
                                      0xC5,   0x1EA5, 0xAC00, 0xD55C,  0x4E2D,  0x3000, 0x200B,  0xA0,
                                      0xFFFD, 0x85,   0x7F,   0,       0xB,     0x0D,   0x37E,   0x1FEF,
                                      0x344,  0x0F73, 0x2126, 0x1F600, 0x20000, 0x940,  0x94D,   0x9C7};
    switch (below(random, 6)) {
        case 0:
            return awkward[below(random, std::size(awkward))];
        case 1:
            return static_cast<UChar32>(below(random, 0x80));
        case 2:
            return static_cast<UChar32>(0x80 + below(random, 0x2F80));
        case 3: {
            const auto any = static_cast<UChar32>(below(random, 0x110000));
            return U_IS_SURROGATE(any) ? 'x' : any;
        }
        default:
            return static_cast<UChar32>('a' + below(random, 4));
    }
}

std::string random_text(Random& random, bool ascii) {
    std::string text;
    const std::size_t length = below(random, 12) == 0 ? below(random, 3000) : below(random, 60);
    const bool long_words = below(random, 5) == 0;
    for (std::size_t i = 0; i < length; ++i) {
        if (!long_words && below(random, 6) == 0) text += " \t\n.,-A"[below(random, 7)];
        text += ascii ? std::string(1, "abcdABCD019"[below(random, 11)]) : utf8(any_code_point(random));
    }
    return text;
}

/// Pieces of few letters, so that texts are full of them and of dead ends.
std::vector<std::string> random_vocabulary(Random& random, const std::string& prefix) {
    std::set<std::string> pieces;
    for (std::size_t i = 0; i < 120; ++i) {
        std::string piece = below(random, 2) == 0 ? prefix : "";
        const std::size_t length = 1 + below(random, below(random, 8) == 0 ? 40 : 5);
        for (std::size_t j = 0; j < length; ++j) {
            piece += below(random, 5) == 0 ? utf8(any_code_point(random)) : std::string(1, "abcd1."[below(random, 6)]);
        }
        pieces.insert(piece);
    }
    pieces.insert("\xE4");  // no UTF-8, so no text holds it
    std::vector<std::string> tokens = {"[UNK]", "[CLS]", "[SEP]"};
    for (const auto& piece : pieces) {
        if (piece != "[UNK]" && piece != "[CLS]" && piece != "[SEP]") tokens.push_back(piece);
    }
    return tokens;
}

TokenizerConfig random_config(Random& random) {
    TokenizerConfig config;
    config.do_lower_case = below(random, 2) == 0;
    config.clean_text = below(random, 4) != 0;
    config.tokenize_chinese_chars = below(random, 4) != 0;
    if (below(random, 3) == 0) config.strip_accents = below(random, 2) == 0;
    if (below(random, 3) == 0) config.max_input_chars_per_word = static_cast<std::int64_t>(below(random, 8));
    if (below(random, 4) == 0) config.continuing_prefix = below(random, 2) == 0 ? "" : "ab";
    config.added_tokens.clear();
    return config;
}

TEST(WordPieceByDefinition, HoldsForRandomVocabularies) {
    Random random(7);
    for (int round = 0; round < 60; ++round) {
        const TokenizerConfig config = random_config(random);
        const auto tokens = random_vocabulary(random, config.continuing_prefix);
        const GreedyWordPiece greedy(tokens, config);
        const WordPieceTokenizer tokenizer(tokens, config, "random");
        for (int i = 0; i < 120; ++i) {
            const std::string text = random_text(random, i % 2 == 0);
            ASSERT_EQ(tokenizer.tokenize(text), greedy.tokenize(text)) << "round " << round << ": " << text;
        }
    }
}

TEST(WordPieceByDefinition, HoldsForRealVocabularies) {
    Random random(8);
    const auto cases = tokenizer_json_fixture("cases.json")["cases"];
    for (const char* name : {"uncased", "cased", "multilingual", "chinese"}) {
        const auto files = read_tokenizer_files(tokenizer_fixture(name));
        TokenizerConfig config = files.config;
        config.added_tokens.clear();
        const GreedyWordPiece greedy(files.tokens, config);
        const WordPieceTokenizer tokenizer(files.tokens, config, name);
        for (const auto& example : cases) {
            const auto text = example["a"].get<std::string>();
            ASSERT_EQ(tokenizer.tokenize(text), greedy.tokenize(text)) << name << ": " << text;
        }
        for (int i = 0; i < 200; ++i) {
            const std::string text = random_text(random, i % 2 == 0);
            ASSERT_EQ(tokenizer.tokenize(text), greedy.tokenize(text)) << name << ": " << text;
        }
    }
}

TEST(WordPieceByDefinition, HoldsForEveryCodePoint) {
    const auto files = read_tokenizer_files(tokenizer_fixture("multilingual"));
    for (const bool lower : {false, true}) {
        TokenizerConfig config = files.config;
        config.added_tokens.clear();
        config.do_lower_case = lower;
        config.strip_accents.reset();
        const GreedyWordPiece greedy(files.tokens, config);
        const WordPieceTokenizer tokenizer(files.tokens, config, "multilingual");
        for (UChar32 c = 0; c < 0x110000; c += c < 0x30000 ? 1 : 97) {
            if (U_IS_SURROGATE(c)) continue;
            const std::string one = utf8(c);
            const std::string text = "a" + one + "e\u0301" + one + "\u302E " + one;
            ASSERT_EQ(tokenizer.tokenize(text), greedy.tokenize(text)) << std::hex << c;
        }
    }
}

/// Each byte ends in a dead end a long way on: quadratic for whoever tries lengths one by one.
TEST(WordPieceByDefinition, TakesLinearTime) {
    std::vector<std::string> tokens = {"[UNK]", "[CLS]", "[SEP]", "a", "##a"};
    tokens.push_back("##" + std::string(2'000'000, 'a') + "b");
    TokenizerConfig config;
    config.max_input_chars_per_word = 10'000'000;
    const WordPieceTokenizer tokenizer(tokens, config, "long");
    const auto ids = tokenizer.tokenize(std::string(1'000'000, 'a'));
    ASSERT_EQ(ids.size(), 1'000'000u);
    EXPECT_EQ(ids.front(), 3);
    EXPECT_EQ(ids.back(), 4);
}

std::vector<Example> random_examples(Random& random, std::size_t count) {
    std::vector<Example> examples(count);
    for (auto& example : examples) {
        example.text_a = random_text(random, below(random, 4) != 0);
        if (below(random, 2) == 0) example.text_b = random_text(random, true);
    }
    return examples;
}

TEST(TokenizeAll, IsEncodeOfEachOnAnyThreads) {
    Random random(9);
    const auto tokenizer = WordPieceTokenizer::from_folder(tokenizer_fixture("uncased"));
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{3000}}) {
        const auto examples = random_examples(random, count);
        for (const int threads : {1, 2, 5}) {
            const TokenSequences all = tokenize_all(tokenizer, examples, 24, threads);
            const TokenSequencesView view = all;
            ASSERT_EQ(view.size(), count);
            for (std::size_t i = 0; i < count; ++i) {
                const auto pair =
                    examples[i].text_b ? std::optional<std::string_view>(*examples[i].text_b) : std::nullopt;
                const auto encoding = tokenizer.encode(examples[i].text_a, pair, 24);
                ASSERT_THAT(view[i].ids, testing::ElementsAreArray(encoding.ids));
                const auto first = std::count(encoding.token_types.begin(), encoding.token_types.end(), 0);
                ASSERT_EQ(view[i].first_tokens, static_cast<std::size_t>(first));
            }
        }
    }
}

TEST(TokenizeAll, ThrowsTheFirstError) {
    const auto tokenizer = WordPieceTokenizer::from_folder(tokenizer_fixture("uncased"));
    std::vector<Example> examples(5000);
    examples[4000].text_a = "abc\xFF";
    examples[2000].text_a = "a\xFF";
    EXPECT_THAT(user_error_of([&] { tokenize_all(tokenizer, examples, 24, 3); }), testing::HasSubstr("byte 2"));
}

}  // namespace
}  // namespace strata::data
