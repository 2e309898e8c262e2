#include "apps/strata/token_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <thread>

#include "core/file.h"
#include "tests/support/scratch_folder.h"

namespace strata::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t limit = 12;

data::WordPieceTokenizer tokenizer_of(bool lower_case = true, const char* last = "##b") {
    data::TokenizerConfig config;
    config.do_lower_case = lower_case;
    return {{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", last}, config, "small"};
}

data::Dataset dataset_of(const std::vector<std::string>& texts) {
    data::Dataset dataset;
    dataset.path = "train.tsv";
    for (const auto& text : texts) dataset.examples.push_back({text, std::nullopt, 0});
    dataset.examples.front().text_b = "b a";
    return dataset;
}

class TokenCache : public testing::Test {
  protected:
    HeldTokens get() const { return tokens_of(dataset_, tokenizer_, limit, 2, folder()); }
    fs::path folder() const { return scratch_ / "cache"; }
    fs::path file() const { return folder() / (token_cache_key(dataset_, tokenizer_, limit) + ".h5"); }
    std::vector<fs::path> files() const {
        std::vector<fs::path> names;
        for (const auto& entry : fs::directory_iterator(folder())) names.push_back(entry.path());
        return names;
    }
    void expect_right(const HeldTokens& held) const {
        const data::TokenSequences made = data::tokenize_all(tokenizer_, dataset_.examples, limit, 1);
        EXPECT_THAT(held.tokens.ids, ElementsAreArray(made.ids));
        EXPECT_THAT(held.tokens.offsets, ElementsAreArray(made.offsets));
        EXPECT_THAT(held.tokens.first_tokens, ElementsAreArray(made.first_tokens));
    }

    testing_support::ScratchFolder scratch_;
    data::Dataset dataset_ = dataset_of({"a ab", "ba b c", "", "a a a a a a a a a a a a a a a a a"});
    data::WordPieceTokenizer tokenizer_ = tokenizer_of();
};

TEST_F(TokenCache, GivesTheSecondTimeWhatItGaveTheFirst) {
    const HeldTokens made = get();
    EXPECT_THAT(made.note, HasSubstr("kept in"));
    expect_right(made);
    EXPECT_THAT(files(), ElementsAre(file()));
    const HeldTokens read = get();
    EXPECT_THAT(read.note, HasSubstr("read from"));
    expect_right(read);
}

TEST_F(TokenCache, IsOffWithoutAFolder) {
    const HeldTokens made = tokens_of(dataset_, tokenizer_, limit, 2, "");
    EXPECT_THAT(made.note, IsEmpty());
    expect_right(made);
}

TEST_F(TokenCache, IsAnOrdinaryHdf5File) {
    get();
    const hid_t h5 = H5Fopen(file().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    ASSERT_GE(h5, 0);
    const hid_t ids = H5Dopen2(h5, "ids", H5P_DEFAULT);
    const data::TokenSequences made = data::tokenize_all(tokenizer_, dataset_.examples, limit, 1);
    std::vector<std::int32_t> stored(made.ids.size());
    EXPECT_GE(H5Dread(ids, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored.data()), 0);
    EXPECT_EQ(stored, made.ids);
    H5Dclose(ids);
    H5Fclose(h5);
}

TEST_F(TokenCache, IsAnotherFileForWhateverDecidesIds) {
    const std::string key = token_cache_key(dataset_, tokenizer_, limit);
    EXPECT_EQ(token_cache_key(dataset_, tokenizer_of(), limit), key) << "the same tokenizer, made anew";
    EXPECT_NE(token_cache_key(dataset_, tokenizer_, limit + 1), key);
    EXPECT_NE(token_cache_key(dataset_, tokenizer_of(false), limit), key);
    EXPECT_NE(token_cache_key(dataset_, tokenizer_of(true, "##c"), limit), key);
    data::Dataset changed = dataset_;
    changed.examples[1].text_a = "ba bc";
    EXPECT_NE(token_cache_key(changed, tokenizer_, limit), key);
    changed = dataset_;
    std::swap(changed.examples[1], changed.examples[2]);
    EXPECT_NE(token_cache_key(changed, tokenizer_, limit), key);
    changed = dataset_;
    changed.examples[2].text_b = "";
    EXPECT_NE(token_cache_key(changed, tokenizer_, limit), key) << "an empty pair is a pair";
    changed = dataset_;
    changed.examples[2].label = 7;
    EXPECT_EQ(token_cache_key(changed, tokenizer_, limit), key) << "labels are read anew";
}

TEST_F(TokenCache, MakesAnewWhatIsCutShort) {
    get();
    const std::string whole = read_file(file());
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{100}, std::size_t{512}, whole.size() / 2, whole.size() - 1}) {
        write_file_atomically(file(), whole.substr(0, size));
        const HeldTokens made = get();
        EXPECT_THAT(made.note, HasSubstr("is damaged")) << size;
        expect_right(made);
        EXPECT_EQ(read_file(file()), whole) << size;
    }
}

TEST_F(TokenCache, BelievesNoFileWithAChangedByte) {
    get();
    const std::string whole = read_file(file());
    const std::string key = token_cache_key(dataset_, tokenizer_, limit);
    std::string why;
    for (std::size_t at = 0; at < whole.size(); ++at) {
        const bool padding = at < 512 && whole[at] == '\0' && whole[at - 1] == '\0';  // of the user block
        if (padding) continue;
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ 0x10);
        write_file_atomically(file(), changed);
        ASSERT_FALSE(read_token_cache(file(), key, why)) << at;
        ASSERT_THAT(why, HasSubstr("damaged")) << at;
    }
}

TEST_F(TokenCache, TakesNoFileOfOtherTexts) {
    get();
    const fs::path mine = file();
    dataset_.examples[1].text_a = "b";
    fs::rename(mine, file());
    const HeldTokens made = get();
    EXPECT_THAT(made.note, HasSubstr("is of other texts"));
    expect_right(made);
}

TEST_F(TokenCache, IsDoneWithoutWhereNothingCanBeWritten) {
    scratch_.write("cache", "a file where the folder should be");
    const HeldTokens made = get();
    EXPECT_THAT(made.note, HasSubstr("not kept"));
    expect_right(made);
}

TEST_F(TokenCache, LeavesNothingOfAFileThatCannotBeRenamed) {
    fs::create_directories(file());  // a folder in its place
    const HeldTokens made = get();
    EXPECT_THAT(made.note, HasSubstr("not kept"));
    expect_right(made);
    EXPECT_THAT(files(), ElementsAre(file()));
}

TEST_F(TokenCache, IsMadeOnceByManyAtOnce) {
    std::vector<HeldTokens> held(4);
    {
        std::vector<std::jthread> others;
        for (auto& mine : held) others.emplace_back([&] { mine = get(); });
    }
    int makers = 0;
    for (const auto& mine : held) {
        expect_right(mine);
        makers += mine.note.find("kept in") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(makers, 1);
    EXPECT_THAT(files(), ElementsAre(file()));
}

}  // namespace
}  // namespace strata::app
