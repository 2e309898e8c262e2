#include "data/label_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::vector<WrittenLabel> written(const std::vector<std::string_view>& texts) {
    std::vector<WrittenLabel> labels;
    for (const auto text : texts) labels.push_back({text, labels.size() + 1});
    return labels;
}

LabelSet infer(const std::vector<std::string_view>& texts, std::optional<bool> regression = std::nullopt) {
    return infer_labels("train.tsv", written(texts), regression);
}

std::string error_of(const std::vector<std::string_view>& texts, std::optional<bool> regression = std::nullopt) {
    return user_error_of([&] { infer(texts, regression); });
}

TEST(LabelSet, SortsNamesByByteAndIntegersByValue) {
    EXPECT_THAT(infer({"neg", "pos", "Neutral", "neg"}).names, ElementsAre("Neutral", "neg", "pos"));
    EXPECT_THAT(infer({"10", "9", "-1", "09"}).names, ElementsAre("-1", "9", "10"));
    EXPECT_THAT(infer({"10", "9", "other"}).names, ElementsAre("10", "9", "other"));
    EXPECT_EQ(infer({"0", "1"}).outputs(), 2);
}

TEST(LabelSet, TakesFractionsForRegression) {
    EXPECT_EQ(infer({"1", "2.5", "3"}), (LabelSet{true, {}}));
    EXPECT_EQ(infer({"1.0", "0.0"}), (LabelSet{true, {}}));
    EXPECT_EQ(infer({"1", "2"}, true), (LabelSet{true, {}}));
    EXPECT_EQ(infer({"0.5", "1.5"}, false).names.size(), 2u);
    EXPECT_EQ(infer({"1", "2.5"}).outputs(), 1);
}

TEST(LabelSet, SaysWhichLabelIsWrong) {
    EXPECT_THAT(error_of({"1.5", "2", "many"}),
                HasSubstr("train.tsv:3: label 'many' is not a number, but line 1 has '1.5'"));
    EXPECT_THAT(error_of({"1.5", "nan"}), HasSubstr("label 'nan'"));
    EXPECT_THAT(error_of({"1", "x"}, true), HasSubstr("train.tsv:2: label 'x' is not a number, as regression needs"));
    EXPECT_THAT(error_of({"1", "", "0"}), HasSubstr("train.tsv:2: the label is empty"));
    EXPECT_THAT(error_of({"1", "1"}), HasSubstr("all 2 rows have the label '1'"));
    EXPECT_THAT(error_of({}), HasSubstr("no labels"));
    std::vector<std::string> sentences;
    for (int i = 0; i < 20; ++i) sentences.push_back("sentence " + std::to_string(i));
    EXPECT_THAT(error_of({sentences.begin(), sentences.end()}), HasSubstr("20 different labels in 20 rows"));
}

TEST(LabelSet, SuspectsALabelThatOnlyTheFirstRowHas) {
    EXPECT_TRUE(first_label_is_odd(written({"class", "a", "b", "a", "b"})));
    EXPECT_FALSE(first_label_is_odd(written({"class", "a", "b", "a", "c", "c"}))) << "b is as rare";
    EXPECT_FALSE(first_label_is_odd(written({"a", "b", "a", "b"})));
    EXPECT_FALSE(first_label_is_odd(written({"a"})));
}

TEST(LabelReader, FindsClassesByNameAndIntegersByValue) {
    const LabelReader reader({false, {"-1", "0", "7"}});
    EXPECT_EQ(reader.find("-1"), 0);
    EXPECT_EQ(reader.find("+7"), 2);
    EXPECT_EQ(reader.find("7.0"), 2);
    EXPECT_EQ(reader.find("007"), 2);
    EXPECT_EQ(reader.find("7.5"), std::nullopt);
    EXPECT_EQ(reader.find("1"), std::nullopt);
    EXPECT_EQ(reader.find(""), std::nullopt);
    const LabelReader words({false, {"01", "1", "a"}});
    EXPECT_EQ(words.find("01"), 0);
    EXPECT_EQ(words.find("1"), 1);
    EXPECT_EQ(words.find("A"), std::nullopt);
}

TEST(LabelReader, ReadsNumbersForRegression) {
    const LabelReader reader({true, {}});
    EXPECT_EQ(reader.find("-2.5e-1"), -0.25);
    EXPECT_EQ(reader.find("3"), 3);
    for (const char* text : {"nan", "inf", "-inf", "1e999", "0x10", "1.5x", "+-1", "1 2", ""}) {
        EXPECT_EQ(reader.find(text), std::nullopt) << text;
    }
}

TEST(LabelReader, UnderstandsPlaceholdersAndTheHubsIntegers) {
    const std::vector<std::string> own = {"contradiction", "entailment", "neutral"};
    const std::vector<std::string> hub = {"entailment", "neutral", "contradiction"};
    const LabelReader named({false, own}, own, hub);
    EXPECT_EQ(named.find("entailment"), 1);
    EXPECT_EQ(named.find("0"), 1);
    EXPECT_EQ(named.find("2"), 0);
    const LabelReader reordered({false, hub}, own, hub);
    EXPECT_EQ(reordered.find("entailment"), 0);
    EXPECT_EQ(reordered.find("2"), 2);
    const LabelReader placeholders({false, {"LABEL_0", "LABEL_1", "LABEL_2"}}, own, hub);
    EXPECT_EQ(placeholders.find("neutral"), 2);
    const LabelReader custom({false, {"LABEL_0", "LABEL_1"}});
    EXPECT_EQ(custom.find("1"), 1);
    EXPECT_EQ(custom.find("LABEL_1"), 1);
    EXPECT_EQ(custom.find("2"), std::nullopt);
    EXPECT_EQ(LabelReader({false, {"neg", "pos"}}).find("1"), std::nullopt);
}

TEST(LabelReader, ListsTheKnownLabels) {
    const LabelReader reader({false, {"negative", "positive"}});
    const auto message = user_error_of([&] { reader.reject("postive", "dev.tsv:3"); });
    EXPECT_EQ(message,
              "dev.tsv:3: label 'postive' was never seen in training; the model's labels are negative, positive. "
              "Did you mean 'positive'?");
    EXPECT_THAT(user_error_of([&] { reader.reject("sentiment", "dev.tsv:1", " Perhaps so."); }),
                EndsWith("are negative, positive. Perhaps so."));
    std::vector<std::string> many;
    for (int i = 0; i < 50; ++i) many.push_back("class" + std::to_string(i));
    EXPECT_THAT(user_error_of([&] {
                    LabelReader({false, many}).reject("x", "dev.tsv:3");
                }),
                HasSubstr("class19, and 30 more."));
}

}  // namespace
}  // namespace strata::data
