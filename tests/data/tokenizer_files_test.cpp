#include "data/tokenizer_files.h"

#include <gmock/gmock.h>

#include "data/wordpiece.h"
#include "tests/data/tokenizer_fixtures.h"

namespace strata::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

TEST(TokenizerFolder, ReadsWhatAutoTokenizerReads) {
    const auto fixture = tokenizer_json_fixture("folders.json");
    ASSERT_GT(fixture["folders"].size(), 40u);
    for (const auto& folder : fixture["folders"]) {
        SCOPED_TRACE(folder["name"].get<std::string>());
        const TemporaryFolder files;
        for (const auto& [name, content] : folder["files"].items()) files.write(name, content.get<std::string>());
        const auto tokenizer = WordPieceTokenizer::from_folder(files.path());
        const auto& texts = fixture["texts"];
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const auto ids = tokenizer.encode(texts[i].get<std::string>(), std::nullopt, 512).ids;
            EXPECT_EQ(ids, folder["ids"][i].get<std::vector<std::int32_t>>()) << texts[i];
        }
        const auto pair = tokenizer.encode(texts[0].get<std::string>(), texts[2].get<std::string>(), 9).ids;
        EXPECT_EQ(pair, folder["short_pair"].get<std::vector<std::int32_t>>());
    }
}

TEST(TokenizerFolder, ReadsTheLengthLimitAndTheSentinel) {
    TemporaryFolder folder;
    folder.write("vocab.txt", specials);
    folder.write("tokenizer_config.json", R"({"model_max_length": 512})");
    EXPECT_EQ(read_tokenizer_files(folder.path()).config.model_max_length, 512);
    folder.write("tokenizer_config.json", R"({"model_max_length": 1000000000000000019884624838656})");
    EXPECT_EQ(read_tokenizer_files(folder.path()).config.model_max_length, std::nullopt);
}

TEST(TokenizerFolder, TakesAnObjectForASpecialToken) {
    TemporaryFolder folder;
    folder.write("vocab.txt", specials + "a\n");
    folder.write("tokenizer_config.json", R"({"mask_token": {"content": "[MASK]", "lstrip": true}})");
    EXPECT_THAT(WordPieceTokenizer::from_folder(folder.path()).tokenize("a [MASK]"), ElementsAre(5, 4));
}

class BadFolder : public testing::Test {
  protected:
    std::string message() {
        return user_error_of([&] { WordPieceTokenizer::from_folder(folder_.path()); });
    }
    std::string where(const std::string& name) { return (folder_.path() / name).string(); }

    TemporaryFolder folder_;
};

TEST_F(BadFolder, WithoutAVocabulary) {
    EXPECT_THAT(message(),
                AllOf(StartsWith(folder_.path().string()), HasSubstr("vocab.txt"), HasSubstr("name the folder")));
}

TEST_F(BadFolder, ThatIsNotThere) {
    EXPECT_THAT(user_error_of([&] { WordPieceTokenizer::from_folder(folder_.path() / "absent"); }),
                HasSubstr("absent"));
}

TEST_F(BadFolder, WithAnEmptyVocabulary) {
    for (const std::string content : {"", "\n\n"}) {
        folder_.write("vocab.txt", content);
        EXPECT_THAT(message(), AllOf(StartsWith(where("vocab.txt")), HasSubstr("no tokens")));
    }
}

TEST_F(BadFolder, WithATokenTwice) {
    folder_.write("vocab.txt", specials + "a\nb\na\n");
    EXPECT_THAT(message(), AllOf(StartsWith(where("vocab.txt") + ":8:"), HasSubstr("'a'"), HasSubstr("line 6")));
}

TEST_F(BadFolder, WithoutTheSpecialTokens) {
    folder_.write("vocab.txt", "[CLS]\n[SEP]\na\n");
    EXPECT_THAT(message(), AllOf(StartsWith(where("vocab.txt")), HasSubstr("'[UNK]'"), HasSubstr("unk_token")));
    folder_.write("vocab.txt", "[UNK]\n[SEP]\na\n");
    EXPECT_THAT(message(), HasSubstr("'[CLS]'"));
    folder_.write("vocab.txt", "[UNK]\n[CLS]\na\n");
    EXPECT_THAT(message(), HasSubstr("'[SEP]'"));
    folder_.write("vocab.txt", specials);
    folder_.write("tokenizer_config.json", R"({"unk_token": "<unk>"})");
    EXPECT_THAT(message(), AllOf(HasSubstr("'<unk>'"), HasSubstr("tokenizer_config.json")));
}

TEST_F(BadFolder, WithAVocabularyThatIsNotUtf8) {
    folder_.write("vocab.txt", specials + "caf\xE9\n");
    EXPECT_THAT(message(), AllOf(StartsWith(where("vocab.txt") + ":6:"), HasSubstr("byte 4")));
}

TEST_F(BadFolder, WithBrokenJson) {
    folder_.write("vocab.txt", specials);
    folder_.write("tokenizer_config.json", "{\n\"do_lower_case\": tru\n}");
    EXPECT_THAT(message(), StartsWith(where("tokenizer_config.json") + ":2:"));
    folder_.write("tokenizer_config.json", R"({"do_lower_case": "false"})");
    EXPECT_THAT(message(), AllOf(StartsWith(where("tokenizer_config.json")), HasSubstr("do_lower_case")));
    folder_.write("tokenizer_config.json", "[]");
    EXPECT_THAT(message(), HasSubstr("JSON object"));
    folder_.write("tokenizer_config.json", R"({"mask_token": 7})");
    EXPECT_THAT(message(), HasSubstr("7 is not a token"));
    folder_.write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": "<x>"}})");
    EXPECT_THAT(message(), HasSubstr("'x'"));
}

TEST_F(BadFolder, WithAnotherKindOfTokenizer) {
    folder_.write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {}, "merges": []}})");
    EXPECT_THAT(message(), AllOf(StartsWith(where("tokenizer.json")), HasSubstr("BPE"), HasSubstr("WordPiece")));
    folder_.write("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": -1}}})");
    EXPECT_THAT(message(), HasSubstr("-1"));
    folder_.write("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": 99999999999}}})");
    EXPECT_THAT(message(), HasSubstr("99999999999"));
    folder_.write("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}})");
    EXPECT_THAT(message(), HasSubstr("both have the id 0"));
    folder_.write("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
    folder_.write("tokenizer.json",
                  R"({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}, "normalizer": {"type": "NFC"}})");
    EXPECT_THAT(message(), HasSubstr("'NFC'"));
}

}  // namespace
}  // namespace strata::data
