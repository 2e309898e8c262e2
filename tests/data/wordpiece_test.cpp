#include "data/wordpiece.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "tests/data/tokenizer_fixtures.h"

namespace strata::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t unlimited = std::numeric_limits<std::int32_t>::max();

WordPieceTokenizer::Encoding encode_case(const WordPieceTokenizer& tokenizer, const nlohmann::json& text) {
    const auto a = text["a"].get<std::string>();
    const auto b = text.contains("b") ? std::optional(text["b"].get<std::string>()) : std::nullopt;
    return tokenizer.encode(a, b, text.value("max", unlimited));
}

class FastTokenizer : public testing::TestWithParam<std::string> {};

TEST_P(FastTokenizer, GivesTheSameIdsAndTypes) {
    const auto fixture = tokenizer_json_fixture("cases.json");
    const auto tokenizer = WordPieceTokenizer::from_folder(tokenizer_fixture(GetParam()));
    const auto& cases = fixture["cases"];
    const auto& expected = fixture["expected"][GetParam()];
    ASSERT_GT(cases.size(), 300u);
    ASSERT_EQ(cases.size(), expected.size());
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const auto encoding = encode_case(tokenizer, cases[i]);
        EXPECT_EQ(encoding.ids, expected[i][0].get<std::vector<std::int32_t>>()) << cases[i].dump();
        const auto zeros = std::count(encoding.token_types.begin(), encoding.token_types.end(), 0);
        EXPECT_EQ(zeros, expected[i][1].get<std::int64_t>()) << cases[i].dump();
        EXPECT_TRUE(std::is_sorted(encoding.token_types.begin(), encoding.token_types.end()));
        EXPECT_EQ(encoding.token_types.size(), encoding.ids.size());
    }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, FastTokenizer, testing::Values("uncased", "cased", "multilingual", "chinese"),
                         [](const auto& vocabulary) { return vocabulary.param; });

WordPieceTokenizer small_tokenizer() {
    return {{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##a", "##ab", "abc"}, {}, "small"};
}

TEST(WordPiece, TakesTheLongestPieceFirst) {
    const auto tokenizer = small_tokenizer();
    EXPECT_THAT(tokenizer.tokenize("abc aab baab bb"), ElementsAre(9, 5, 8, 6, 7, 8, 1));
    EXPECT_THAT(tokenizer.tokenize("abca"), ElementsAre(9, 7));
    EXPECT_THAT(tokenizer.tokenize("abcc"), ElementsAre(1)) << "a rest without a piece makes the whole word unknown";
}

TEST(WordPiece, KnowsItsTokens) {
    const auto tokenizer = small_tokenizer();
    EXPECT_EQ(tokenizer.vocab_size(), 10u);
    EXPECT_EQ(tokenizer.id("##ab"), 8);
    EXPECT_EQ(tokenizer.id("ab"), std::nullopt);
    EXPECT_EQ(tokenizer.token(9), "abc");
    EXPECT_EQ(tokenizer.unk_id(), 1);
    EXPECT_EQ(tokenizer.cls_id(), 2);
    EXPECT_EQ(tokenizer.sep_id(), 3);
    EXPECT_EQ(tokenizer.pad_id(), 0);
    EXPECT_EQ(tokenizer.mask_id(), 4);
}

TEST(WordPiece, HasNoMaskThatTheVocabularyLacks) {
    const WordPieceTokenizer tokenizer({"[UNK]", "[CLS]", "[SEP]", "[", "]", "mask"}, {}, "small");
    EXPECT_EQ(tokenizer.vocab_size(), 6u);
    EXPECT_EQ(tokenizer.mask_id(), std::nullopt);
    EXPECT_EQ(tokenizer.pad_id(), std::nullopt);
    EXPECT_THAT(tokenizer.tokenize("[MASK]"), ElementsAre(3, 5, 4));
}

TEST(WordPiece, AnEmptyPairIsAPair) {
    const auto tokenizer = small_tokenizer();
    EXPECT_THAT(tokenizer.encode("a", std::nullopt, 8).ids, ElementsAre(2, 5, 3));
    const auto pair = tokenizer.encode("a", "", 8);
    EXPECT_THAT(pair.ids, ElementsAre(2, 5, 3, 3));
    EXPECT_THAT(pair.token_types, ElementsAre(0, 0, 0, 1));
}

TEST(WordPiece, RefusesALengthWithoutRoomForTheSpecialTokens) {
    const auto tokenizer = small_tokenizer();
    EXPECT_THAT(tokenizer.encode("a", std::nullopt, 2).ids, ElementsAre(2, 3));
    EXPECT_THAT(tokenizer.encode("a", "b", 3).ids, ElementsAre(2, 3, 3));
    EXPECT_THAT(user_error_of([&] { tokenizer.encode("a", std::nullopt, 1); }), HasSubstr("max_seq_length is 1"));
    EXPECT_THAT(user_error_of([&] { tokenizer.encode("a", "b", 2); }), HasSubstr("max_seq_length is 2"));
}

TEST(WordPiece, NamesTheByteThatIsNotUtf8) {
    const auto tokenizer = small_tokenizer();
    const auto message = user_error_of([&] { tokenizer.tokenize("caf\xE9"); });
    EXPECT_THAT(message, HasSubstr("byte 4"));
    EXPECT_THAT(message, HasSubstr("--encoding latin1"));
    EXPECT_THROW(tokenizer.encode("a", "\xED\xA0\x80", 8), UserError) << "a surrogate is not UTF-8";
}

TEST(WordPiece, CopiesServeManyThreads) {
    const auto tokenizer = WordPieceTokenizer::from_folder(tokenizer_fixture("uncased"));
    const std::string text = "Ünaffable Straße [MASK] 東京 re\xCC\x81sum\xC3\xA9 don't";
    const auto expected = tokenizer.tokenize(text);
    std::vector<int> wrong(4, 0);
    std::vector<std::thread> threads;
    for (auto& count : wrong) {
        threads.emplace_back([&count, &expected, &text, copy = tokenizer] {
            for (int i = 0; i < 300; ++i) count += copy.tokenize(text) != expected;
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_THAT(wrong, testing::Each(0));
}

}  // namespace
}  // namespace strata::data
