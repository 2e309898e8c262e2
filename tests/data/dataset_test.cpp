// Files of the user's own: where the header, the texts and the labels are.
#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const LabelSet binary{false, {"0", "1"}};
const LabelSet polarity{false, {"neg", "pos"}};

ReadOptions options_for(Split split) {
    ReadOptions options;
    options.split = split;
    return options;
}

Dataset read(const std::string& name, std::string_view content, const ReadOptions& options = {},
             const LabelSet* labels = nullptr) {
    const TemporaryFile file(name, content);
    return read_dataset(file.path(), options, labels);
}

std::string error_of(const std::string& name, std::string_view content, const ReadOptions& options = {},
                     const LabelSet* labels = nullptr) {
    return user_error_of([&] { read(name, content, options, labels); });
}

/// "text_a|text_b|label", with "-" for what there is not.
std::vector<std::string> lines_of(const Dataset& dataset) {
    std::vector<std::string> lines;
    for (const auto& [text_a, text_b, label] : dataset.examples) {
        lines.push_back(
            fmt::format("{}|{}|{}", text_a, text_b.value_or("-"), std::isnan(label) ? "-" : fmt::format("{}", label)));
    }
    return lines;
}

TEST(CustomTsv, WithoutHeaderWorksAsItIs) {
    const Dataset dataset = read("a.tsv", "good film\t1\nbad film\t0\nLabel me\t1\n");
    EXPECT_THAT(lines_of(dataset), ElementsAre("good film|-|1", "bad film|-|0", "Label me|-|1"));
    EXPECT_TRUE(dataset.has_labels);
    EXPECT_FALSE(dataset.has_pairs());
    EXPECT_EQ(dataset.size(), 3);
}

TEST(CustomTsv, WithHeaderWorksToo) {
    for (const char* header :
         {"sentence\tlabel", "Text\tLABEL", "\xef\xbb\xbfsentence\tlabel\r", "review\tlabel", "review\tstars"}) {
        EXPECT_THAT(lines_of(read("a.tsv", std::string(header) + "\ngood\t1\nbad\t0\n")),
                    ElementsAre("good|-|1", "bad|-|0"))
            << header;
    }
    EXPECT_THAT(lines_of(read("a.tsv", "label\tsentence\n1\tgood\n0\tbad\n")), ElementsAre("good|-|1", "bad|-|0"));
    EXPECT_THAT(lines_of(read("a.tsv", "stars\ttext\n1\tgood\n0\tbad\n")), ElementsAre("good|-|1", "bad|-|0"));
}

TEST(CustomTsv, AFirstRowWithANumberIsData) {
    EXPECT_THAT(lines_of(read("a.tsv", "text\t1\nlabel\t0\n")), ElementsAre("text|-|1", "label|-|0"));
    EXPECT_THAT(lines_of(read("a.tsv", "text\t1.5\nlabel\t0.5\n")), ElementsAre("text|-|1.5", "label|-|0.5"));
}

TEST(CustomTsv, WordsAsLabelsWithoutHeader) {
    EXPECT_THAT(lines_of(read("a.tsv", "good\tpos\nbad\tneg\nfine\tpos\n")),
                ElementsAre("good|-|1", "bad|-|0", "fine|-|1"));
    EXPECT_THAT(lines_of(read("a.tsv", "good\tpos\nbad\tneg\n")), ElementsAre("good|-|1", "bad|-|0"));
}

TEST(CustomTsv, AsksWhenTheFirstRowMayBeAHeader) {
    std::string rows = "review\tsentiment\n";
    for (int i = 0; i < 10; ++i) rows += i % 2 == 0 ? "good\tpos\n" : "bad\tneg\n";
    EXPECT_THAT(error_of("a.tsv", rows),
                AllOf(HasSubstr("a.tsv:1: the label 'sentiment' occurs in this row only"), HasSubstr("--header true")));
    ReadOptions options;
    options.header = true;
    EXPECT_EQ(read("a.tsv", rows, options).size(), 10);
    options.header = false;
    EXPECT_EQ(read("a.tsv", rows, options).size(), 11);
    EXPECT_EQ(read("a.csv", "review,sentiment\ngood,pos\nbad,neg\n").size(), 2) << "CSV files have headers";
    EXPECT_EQ(read("a.csv", "good,pos\nbad,neg\nfine,pos\n").size(), 3) << "unless the first row's label comes again";
    EXPECT_THAT(error_of("a.tsv", "review\tsentiment\ngood\tpos\n", options_for(Split::validation), &polarity),
                HasSubstr("a.tsv:1: label 'sentiment' was never seen in training; the model's labels are neg, pos. If "
                          "this row is a header, name its label column 'label' (or say --header true)."));
}

TEST(CustomTsv, PairsWithoutHeader) {
    const Dataset dataset = read("a.tsv", "a\tb\t1\nc\td\t0\n");
    EXPECT_THAT(lines_of(dataset), ElementsAre("a|b|1", "c|d|0"));
    EXPECT_TRUE(dataset.has_pairs());
}

TEST(CustomColumns, AreChosenAsHuggingFaceChoosesThem) {
    EXPECT_THAT(lines_of(read("a.csv", "idx,sentence2,sentence1,label\n7,b,a,1\n8,d,c,0\n")),
                ElementsAre("a|b|1", "c|d|0"));
    EXPECT_THAT(lines_of(read("a.csv", "title,body,label\na,b,1\nc,d,0\n")), ElementsAre("a|b|1", "c|d|0"));
    EXPECT_THAT(lines_of(read("a.csv", "author,text,label\nx,a,1\ny,c,0\n")), ElementsAre("a|-|1", "c|-|0"));
    EXPECT_THAT(lines_of(read("a.csv", "premise,hypothesis,label\na,b,1\nc,d,0\n")), ElementsAre("a|b|1", "c|d|0"));
    EXPECT_THAT(lines_of(read("a.csv", ",review,label\n0,a,1\n1,c,0\n")), ElementsAre("a|-|1", "c|-|0"))
        << "pandas' index";
    EXPECT_THAT(lines_of(read("a.csv", "a,b,c,d,label\n1,2,3,4,x\n5,6,7,8,y\n")), ElementsAre("1|2|0", "5|6|1"));
}

TEST(CustomColumns, AreSaid) {
    EXPECT_EQ(read("a.csv", "id,review,stars,label\n1,a,b,1\n2,c,d,0\n").columns,
              "texts 'review' and 'stars', label 'label'; not read: 'id'");
    EXPECT_EQ(read("a.csv", "Author,Text,Label\nx,a,1\ny,c,0\n").columns,
              "text 'Text', label 'Label'; not read: 'Author'");
    EXPECT_EQ(read("a.jsonl",
                   "{\"text\": \"a\", \"text_pair\": \"b\", \"label\": 1}\n"
                   "{\"text\": \"c\", \"text_pair\": \"d\", \"label\": 0}\n")
                  .columns,
              "texts 'text' and 'text_pair', label 'label'");
    EXPECT_EQ(read("a.tsv", "a\t1\nb\t0\n").columns, "no header; text and label, like the first row");
    const auto to_predict = options_for(Split::test);
    EXPECT_EQ(read("a.csv", "text,label\na,1\n", to_predict, &binary).columns, "text 'text'; not read: 'label'");
    EXPECT_EQ(read("a.tsv", "a\t1\nb\t0\n", to_predict, &binary).columns,
              "no header; text and label, like the first row; the label is not read");
    EXPECT_EQ(read("a.tsv", "a\nb\n", to_predict, &binary).columns, "no header; one text a row, like the first");
}

TEST(CustomColumns, TheLabelOfTwoColumnsNeedsNoName) {
    EXPECT_THAT(lines_of(read("a.csv", "text,labels\na,1\nb,0\n")), ElementsAre("a|-|1", "b|-|0"));
    EXPECT_THAT(lines_of(read("a.csv", "class,sentence\npos,a\nneg,b\n")), ElementsAre("a|-|1", "b|-|0"));
    EXPECT_THAT(error_of("a.csv", "sentence1,sentence2\na,b\n"), HasSubstr("no column named 'label'"));
}

TEST(CustomJsonl, ReadsKeysInAnyOrder) {
    const Dataset dataset =
        read("a.jsonl", "{\"label\": \"pos\", \"text\": \"good\"}\n{\"text\": \"bad\", \"label\": \"neg\"}\n");
    EXPECT_THAT(lines_of(dataset), ElementsAre("good|-|1", "bad|-|0"));
    EXPECT_THAT(lines_of(read("a.json",
                              "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 0.5}\n"
                              "{\"sentence1\": \"c\", \"sentence2\": \"d\", \"label\": 1}\n")),
                ElementsAre("a|b|0.5", "c|d|1"));
    EXPECT_THAT(lines_of(read("a.json", "{\"text\": \"a\", \"label\": true}\n{\"text\": \"b\", \"label\": false}\n")),
                ElementsAre("a|-|1", "b|-|0"));
}

TEST(CustomJsonl, NamesTheLineThatLacksAKey) {
    EXPECT_THAT(error_of("a.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"label\": 0}\n"),
                HasSubstr("a.jsonl:2: the key 'text' is missing or holds no text"));
    EXPECT_THAT(error_of("a.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\"}\n"),
                HasSubstr("a.jsonl:2: the label is empty"));
    EXPECT_THAT(error_of("a.jsonl", "{\"text\": \"a\", \"stars\": 1, \"id\": 3}\n"),
                HasSubstr("a.jsonl:1: no column named 'label' among text, stars, id."));
}

TEST(CustomTestFiles, MayHaveNoLabels) {
    const auto options = options_for(Split::test);
    EXPECT_THAT(lines_of(read("a.txt", "one line\nanother, with comma\n", options, &binary)),
                ElementsAre("one line|-|-", "another, with comma|-|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "sentence\none\ntwo\n", options, &binary)), ElementsAre("one|-|-", "two|-|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "sentence1\tsentence2\none\ttwo\n", options, &binary)),
                ElementsAre("one|two|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "idx\tsentence\n0\tone\n", options, &binary)), ElementsAre("one|-|-"));
    EXPECT_THAT(lines_of(read("a.jsonl", "{\"text\": \"one\"}\n", options, &binary)), ElementsAre("one|-|-"));
    EXPECT_FALSE(read("a.tsv", "sentence\none\ntwo\n", options, &binary).has_labels);
}

TEST(CustomTestFiles, TellLabelsFromASecondText) {
    const auto options = options_for(Split::test);
    EXPECT_THAT(lines_of(read("a.tsv", "one\tpos\ntwo\tneg\n", options, &polarity)), ElementsAre("one|-|-", "two|-|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "one\tother\ntwo\tmore\n", options, &polarity)),
                ElementsAre("one|other|-", "two|more|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "one\t1\ntwo\t0\n", options, &binary)), ElementsAre("one|-|-", "two|-|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "one\t1\ntwo\t0\n", options)), ElementsAre("one|-|-", "two|-|-"));
}

TEST(CustomTestFiles, HaveLabelsThatTheModelNeedNotKnow) {
    const auto options = options_for(Split::test);
    const Dataset dataset = read("a.csv", "text,label\na,1\nb,\nc,-1\nd,maybe\n", options, &binary);
    EXPECT_THAT(lines_of(dataset), ElementsAre("a|-|-", "b|-|-", "c|-|-", "d|-|-"));
    EXPECT_FALSE(dataset.has_labels);
    EXPECT_THAT(lines_of(read("a.tsv", "one\tpos\ntwo\tneg\nthree\tpso\n", options, &polarity)),
                ElementsAre("one|-|-", "two|-|-", "three|-|-"));
    EXPECT_THAT(lines_of(read("a.tsv", "one\t\ntwo\tneg\n", options, &polarity)), ElementsAre("one|-|-", "two|-|-"));
}

TEST(CustomTestFiles, AskWhenTheFirstRowMayBeAHeader) {
    const std::string_view rows = "review\tsentiment\ngood\tpos\nbad\tneg\n";
    ReadOptions options = options_for(Split::test);
    EXPECT_THAT(error_of("a.tsv", rows, options, &polarity),
                HasSubstr("a.tsv:1: label 'sentiment' was never seen in training; the model's labels are neg, pos. If "
                          "this row is a header, say --header true; if it is data, --header false."));
    options.header = true;
    EXPECT_EQ(read("a.tsv", rows, options, &polarity).size(), 2);
    options.header = false;
    EXPECT_EQ(read("a.tsv", rows, options, &polarity).size(), 3);
}

TEST(CustomErrors, NameFileLineAndRemedy) {
    EXPECT_THAT(error_of("a.tsv", "good\t1\nbad\n"),
                HasSubstr("a.tsv:2: 1 column, expected at least 2 (text and label"));
    EXPECT_THAT(error_of("a.tsv", "good\t1\nb\tad\t0\n"),
                AllOf(HasSubstr("a.tsv:2: 3 columns, expected 2"), HasSubstr("is there a tab inside a text?")));
    EXPECT_THAT(error_of("a.csv", "text,label\na, b,1\n"), HasSubstr("a.csv:2: 3 columns, expected 2"));
    EXPECT_THAT(error_of("a.tsv", "only text\nmore text\n"),
                HasSubstr("a.tsv:1: 1 column and no header; expected text and label"));
    EXPECT_THAT(error_of("a.tsv", "a\tb\tc\t1\n"), HasSubstr("4 columns and no header"));
    EXPECT_THAT(error_of("a.tsv", "sentence\tlabel\n"), HasSubstr("a header but no rows below it"));
    EXPECT_THAT(error_of("a.tsv", "sentence\nx\n"), HasSubstr("no column named 'label' among sentence."));
    EXPECT_THAT(error_of("a.csv", "idx,label\n1,0\n2,1\n"), HasSubstr("no text column among idx, label"));
    EXPECT_THAT(error_of("a.tsv", "good\t2\nbad\t0\n", options_for(Split::validation), &binary),
                HasSubstr("a.tsv:1: label '2' was never seen in training; the model's labels are 0, 1."));
    EXPECT_THAT(error_of("a.tsv", "good\t1\nbad\t\n"), HasSubstr("a.tsv:2: the label is empty"));
    EXPECT_THAT(error_of("a.csv", "text,note,lable\na,b,1\n"), HasSubstr("Did you mean 'lable'?"));
}

TEST(CustomOptions, TrailingEmptyCellsAndSpacesAroundLabelsAreHarmless) {
    EXPECT_THAT(lines_of(read("a.csv", "text,label\na , 1 ,,\nb,0\n")), ElementsAre("a |-|1", "b|-|0"));
}

TEST(CustomOptions, MaxSamplesKeepsTheLabelsOfTheWholeFile) {
    const TemporaryFile file("a.tsv", "a\tx\nb\ty\nc\tz\nd\tx\n");
    ReadOptions options;
    options.max_samples = 2;
    EXPECT_THAT(labels_of(file.path(), options).names, ElementsAre("x", "y", "z"));
    EXPECT_THAT(lines_of(read_dataset(file.path(), options)), ElementsAre("a|-|0", "b|-|1"));
}

TEST(CustomOptions, RegressionMayBeAskedFor) {
    const TemporaryFile file("a.tsv", "a\t1\nb\t5\n");
    ReadOptions options;
    EXPECT_FALSE(labels_of(file.path(), options).regression);
    options.regression = true;
    EXPECT_TRUE(labels_of(file.path(), options).regression);
    EXPECT_THAT(lines_of(read_dataset(file.path(), options)), ElementsAre("a|-|1", "b|-|5"));
}

TEST(CustomOptions, LabelsOfATaskNeedNoFile) {
    ReadOptions options;
    options.task_name = "mnli";
    EXPECT_THAT(labels_of("/nowhere", options).names, ElementsAre("contradiction", "entailment", "neutral"));
}

TEST(CustomOptions, Latin1IsConverted) {
    ReadOptions options;
    EXPECT_THAT(error_of("a.tsv", "caf\xe9\t1\nbar\t0\n"), HasSubstr("a.tsv:1: byte 4"));
    options.encoding = TextEncoding::latin1;
    EXPECT_THAT(lines_of(read("a.tsv", "caf\xe9\t1\nbar\t0\n", options)), ElementsAre("caf\xc3\xa9|-|1", "bar|-|0"));
}

}  // namespace
}  // namespace strata::data
