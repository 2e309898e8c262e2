#include "data/bert_normalizer.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/data/tokenizer_fixtures.h"

namespace strata::data {
namespace {

using testing::ElementsAre;

std::vector<std::string> words(const BertNormalizer& normalizer, std::string_view normalized) {
    std::vector<std::string> found;
    normalizer.for_each_word(normalized, [&](std::string_view word, std::size_t) { found.emplace_back(word); });
    return found;
}

std::string utf8(UChar32 code_point) {
    std::string text(U8_MAX_LENGTH, '\0');
    std::size_t length = 0;
    U8_APPEND_UNSAFE(text.data(), length, code_point);
    text.resize(length);
    return text;
}

class Fnv1a {
  public:
    void add(std::string_view bytes) {
        for (const char byte : bytes) value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
    }
    std::string hex() const { return fmt::format("{:016x}", value_); }

  private:
    std::uint64_t value_ = 0xCBF29CE484222325u;
};

/// The hash of all words of a block of code points, each in the surroundings of make_tokenizer_fixtures.py.
std::string block_hash(const BertNormalizer& normalizer, UChar32 first, UChar32 size) {
    Fnv1a hash;
    for (UChar32 code = first; code < first + size; ++code) {
        if (U_IS_SURROGATE(code)) continue;
        const auto text = fmt::format("{0} A{0}b e\u0301{0}\u0327\u302e \u302e{0}\U0001d165", utf8(code));
        for (const auto& word : words(normalizer, normalizer.normalize(text))) {
            hash.add(word);
            hash.add("\n");
        }
        hash.add("\n");
    }
    return hash.hex();
}

struct Setting {
    std::string name;
    NormalizerOptions options;
};

class EveryCodePoint : public testing::TestWithParam<Setting> {};

TEST_P(EveryCodePoint, BecomesTheSameWords) {
    constexpr UChar32 block = 4096;
    const auto expected = tokenizer_json_fixture("code_points.json")[GetParam().name];
    ASSERT_EQ(expected.size(), 0x110000u / block);
    const BertNormalizer normalizer(GetParam().options);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto first = static_cast<UChar32>(i) * block;
        EXPECT_EQ(block_hash(normalizer, first, block), expected[i]) << fmt::format("block U+{:04X}", first);
    }
}

INSTANTIATE_TEST_SUITE_P(Settings, EveryCodePoint,
                         testing::Values(Setting{"uncased", {true, true, true, true}},
                                         Setting{"cased", {true, true, false, false}},
                                         Setting{"strip_only", {true, true, true, false}},
                                         Setting{"lower_only", {true, false, false, true}}),
                         [](const auto& setting) { return setting.param.name; });

TEST(BertNormalizer, CleansBeforeItDecomposes) {
    const BertNormalizer normalizer({});
    // A mark beyond a removed control character still belongs to the letter before it.
    EXPECT_EQ(normalizer.normalize("e\a\u0301"), "e");
    // So of two marks that both stay the later moves before the earlier, by their classes (U+302E: 224, U+1D165: 216).
    EXPECT_EQ(normalizer.normalize("e\u302e\a\U0001d165"), "e\U0001d165\u302e");
    EXPECT_EQ(normalizer.normalize("e\u302e \U0001d165"), "e\u302e \U0001d165");
}

TEST(BertNormalizer, TakesMarksSinceUnicode10AsTheLibraryDoes) {
    // U+0898 (Unicode 14, class 230) is no mark to it: it stays, and U+302E (224) does not move before it.
    EXPECT_EQ(BertNormalizer({}).normalize("e\u0898\u302e\u0301"), "e\u0898\u302e");
}

TEST(BertNormalizer, LowersWithoutContext) {
    const BertNormalizer keep_accents({true, true, false, true});
    EXPECT_EQ(keep_accents.normalize("\u0130I"), "i\u0307i");
    EXPECT_EQ(keep_accents.normalize("A\u03a3"), "a\u03c3") << "no final sigma";
}

TEST(BertNormalizer, SplitsWords) {
    const BertNormalizer normalizer({});
    EXPECT_THAT(words(normalizer, normalizer.normalize(" Don't\tstop$5 ")),
                ElementsAre("don", "'", "t", "stop", "$", "5"));
    EXPECT_THAT(words(normalizer, normalizer.normalize("\xE6\x9D\xB1\xE4\xBA\xAC x")), ElementsAre("東", "京", "x"));
    EXPECT_THAT(words(normalizer, ""), ElementsAre());
}

}  // namespace
}  // namespace strata::data
