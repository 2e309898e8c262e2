// The nine GLUE tasks, against what Hugging Face's processors read from the same files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "data/dataset.h"
#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path fixtures = STRATA_FIXTURES "/data/glue";

Split split_of(const std::string& file_name) {
    return file_name.starts_with("train") ? Split::train
           : file_name.starts_with("dev") ? Split::validation
                                          : Split::test;
}

ReadOptions options_for(const std::string& task, Split split) {
    ReadOptions options;
    options.task_name = task;
    options.split = split;
    return options;
}

void expect_label(const nlohmann::json& wanted, double label, const LabelSet& labels) {
    if (wanted.is_null()) {
        EXPECT_TRUE(std::isnan(label));
    } else if (labels.regression) {
        EXPECT_EQ(label, std::stod(wanted.get<std::string>()));
    } else {
        ASSERT_GE(label, 0);
        EXPECT_EQ(labels.names.at(static_cast<std::size_t>(label)), wanted.get<std::string>());
    }
}

class Glue : public ::testing::TestWithParam<std::string> {};

TEST_P(Glue, ReadsWhatTheProcessorsRead) {
    const Task& task = task_named(GetParam());
    const auto expected = nlohmann::json::parse(read_file(fixtures / "expected.json")).at(task.name);
    int files = 0;
    for (const auto& [file, examples] : expected.items()) {
        if (file == "labels") continue;
        SCOPED_TRACE(file);
        ++files;
        const Dataset dataset = read_dataset(fixtures / task.name / file, options_for(task.name, split_of(file)));
        EXPECT_EQ(dataset.has_labels, split_of(file) != Split::test);
        ASSERT_EQ(dataset.examples.size(), examples.size());
        for (std::size_t i = 0; i < examples.size(); ++i) {
            const Example& example = dataset.examples[i];
            EXPECT_EQ(example.text_a, examples[i][0].get<std::string>());
            ASSERT_EQ(example.text_b.has_value(), !examples[i][1].is_null());
            if (example.text_b) {
                EXPECT_EQ(*example.text_b, examples[i][1].get<std::string>());
            }
            expect_label(examples[i][2], example.label, task.labels);
        }
    }
    EXPECT_GE(files, 3);
    if (task.labels.regression) {
        EXPECT_TRUE(expected["labels"][0].is_null());
    } else {
        EXPECT_EQ(task.labels.names, expected["labels"].get<std::vector<std::string>>());
    }
}

INSTANTIATE_TEST_SUITE_P(Tasks, Glue,
                         ::testing::Values("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"),
                         [](const auto& instance) { return instance.param; });

Dataset read(const std::string& task, Split split, const std::string& name, std::string_view content,
             const LabelSet* labels = nullptr) {
    const TemporaryFile file(name, content);
    return read_dataset(file.path(), options_for(task, split), labels);
}

std::string error_of(const std::string& task, Split split, const std::string& name, std::string_view content) {
    return user_error_of([&] { read(task, split, name, content); });
}

std::vector<std::string> texts_of(const Dataset& dataset) {
    std::vector<std::string> texts;
    for (const auto& example : dataset.examples) texts.push_back(example.text_a);
    return texts;
}

std::vector<double> labels_in(const Dataset& dataset) {
    std::vector<double> labels;
    for (const auto& example : dataset.examples) labels.push_back(example.label);
    return labels;
}

TEST(GlueQuirks, CountsTheShortLinesOfQqp) {
    const Dataset dataset = read_dataset(fixtures / "qqp/train.tsv", options_for("qqp", Split::train));
    EXPECT_EQ(dataset.skipped_rows, 1u);
    EXPECT_THAT(error_of("qqp", Split::train, "a.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\n"),
                HasSubstr("no row can be used"));
}

TEST(GlueQuirks, RefusesShortRowsElsewhere) {
    EXPECT_THAT(error_of("cola", Split::train, "a.tsv", "gj04\t1\t\tFine.\ngj04\t1\t\n"),
                HasSubstr("a.tsv:2: 3 columns, expected at least 4 (CoLA: text in column 4, label in 2)"));
    EXPECT_THAT(error_of("rte", Split::train, "a.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\n"),
                HasSubstr("a.tsv:2: 3 columns, expected at least 4"));
    EXPECT_THAT(error_of("sst2", Split::train, "a.tsv", "sentence\tlabel\nno tab 1\n"),
                HasSubstr("a.tsv:2: 1 column, expected"));
}

TEST(GlueQuirks, RefusesLabelsTheTaskDoesNotHave) {
    EXPECT_THAT(
        error_of("mnli", Split::validation, "a.jsonl",
                 "{\"premise\":\"a\",\"hypothesis\":\"b\",\"label\":\"entails\"}\n"),
        HasSubstr(
            "a.jsonl:1: label 'entails' was never seen in training; the model's labels are contradiction, entailment"));
    EXPECT_THAT(error_of("cola", Split::train, "a.tsv", "gj04\t2\t\tFine.\n"), HasSubstr("a.tsv:1: label '2'"));
    EXPECT_THAT(error_of("stsb", Split::train, "a.csv", "sentence1,sentence2,label\na,b,high\n"),
                HasSubstr("a.csv:2: label 'high' is not a number"));
}

TEST(GlueQuirks, TrainingFilesMustHaveLabels) {
    EXPECT_THAT(error_of("sst2", Split::train, "a.tsv", "index\tsentence\n0\tgood\n"),
                HasSubstr("a.tsv:1: no label column"));
    EXPECT_THAT(error_of("mrpc", Split::validation, "a.csv", "text,label\na,1\n"),
                HasSubstr("a.csv:1: the columns are text, label; MRPC needs '#1 string' or 'sentence1' and"));
    EXPECT_THAT(error_of("sst2", Split::train, "a.tsv", "sentence\tlabel\n"), HasSubstr("a header but no rows"));
}

TEST(GlueQuirks, ReadsLabelledTestFilesAndFilesWithoutHeader) {
    const Dataset labelled = read("sst2", Split::test, "a.tsv", "sentence\tlabel\ngood\t1\nbad\t0\n");
    EXPECT_FALSE(labelled.has_labels) << "a test file's are not read";
    EXPECT_THAT(texts_of(labelled), ElementsAre("good", "bad"));
    EXPECT_THAT(texts_of(read("sst2", Split::test, "a.tsv", "sentence\tlabel\ngood\t7\nbad\t\n")),
                ElementsAre("good", "bad"));
    for (const Split split : {Split::train, Split::validation, Split::test}) {
        const Dataset bare = read("sst2", split, "a.tsv", "good\t1\nbad\t0\n");
        EXPECT_THAT(texts_of(bare), ElementsAre("good", "bad"));
        EXPECT_EQ(bare.has_labels, split != Split::test);
        if (!bare.has_labels) continue;
        EXPECT_THAT(labels_in(bare), ElementsAre(1, 0));
    }
    EXPECT_THAT(texts_of(read("sst2", Split::test, "a.tsv", "0\tgood\n1\tbad\n")), ElementsAre("good", "bad"));
    EXPECT_THAT(texts_of(read("cola", Split::test, "a.tsv", "n\ts\n0\tgood\n1\tbad\n")), ElementsAre("good", "bad"));
}

// Files exported from the hub: named columns, integer labels in the hub's own order, -1 where GLUE keeps the label.
TEST(GlueQuirks, ReadsFilesExportedFromTheHub) {
    const std::string_view lines =
        "{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": 0, \"idx\": 0}\n"
        "{\"premise\": \"c\", \"hypothesis\": \"d\", \"label\": 2, \"idx\": 1}\n";
    EXPECT_THAT(labels_in(read("mnli", Split::train, "a.jsonl", lines)), ElementsAre(1, 0));
    const Dataset csv = read("qnli", Split::validation, "a.csv", "question,sentence,label,idx\n\"who, me?\",you,1,0\n");
    EXPECT_EQ(csv.examples[0].text_a, "who, me?");
    EXPECT_EQ(*csv.examples[0].text_b, "you");
    EXPECT_EQ(csv.examples[0].label, 1);
    const Dataset hidden = read("cola", Split::test, "a.csv", "sentence,label,idx\nFine.,-1,0\n");
    EXPECT_FALSE(hidden.has_labels);
    EXPECT_THAT(error_of("cola", Split::validation, "a.csv", "sentence,label,idx\nFine.,-1,0\n"),
                HasSubstr("label '-1'"));
}

TEST(GlueQuirks, FollowsTheModelsOwnOrderOfLabels) {
    const LabelSet model{false, {"entailment", "neutral", "contradiction"}};
    const auto options = options_for("mnli", Split::validation);
    const Dataset own = read_dataset(fixtures / "mnli/dev_matched.tsv", options);
    const Dataset models = read_dataset(fixtures / "mnli/dev_matched.tsv", options, &model);
    EXPECT_THAT(labels_in(own), ElementsAre(1, 0, 2, 1));
    EXPECT_THAT(labels_in(models), ElementsAre(0, 2, 1, 0));
}

TEST(GlueFiles, AreFoundByGluesNames) {
    const Task& mnli = task_named("mnli");
    const auto dev = split_files(mnli, fixtures / "mnli", Split::validation);
    ASSERT_EQ(dev.size(), 2u);
    EXPECT_EQ(dev[0].path.filename(), "dev_matched.tsv");
    EXPECT_EQ(dev[1].path.filename(), "dev_mismatched.tsv");
    EXPECT_EQ(dev[1].metric_suffix, "_mm");
    EXPECT_EQ(split_files(mnli, fixtures / "mnli/dev_matched.tsv", Split::validation).size(), 2u);
    EXPECT_EQ(split_files(mnli, fixtures / "mnli/dev_mismatched.tsv", Split::validation).size(), 1u);
    EXPECT_EQ(split_files(mnli, fixtures / "mnli/test_matched.tsv", Split::test).size(), 1u);
    EXPECT_EQ(split_files(mnli, fixtures / "mnli", Split::train).at(0).path.filename(), "train.tsv");
    EXPECT_EQ(split_files(task_named("rte"), fixtures / "rte", Split::validation).at(0).path.filename(), "dev.tsv");
}

TEST(GlueFiles, UnknownTaskNamesTheNearest) {
    EXPECT_EQ(all_tasks().size(), 9u);
    const auto message = user_error_of([] { task_named("sts-b"); });
    EXPECT_THAT(message, HasSubstr("Did you mean 'stsb'?"));
    EXPECT_THAT(message, HasSubstr("cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli"));
}

}  // namespace
}  // namespace strata::data
