#include "data/task.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/nearest.h"

namespace strata::data {
namespace {

using Names = std::vector<std::string>;

Task single_sentence(std::string name, std::string full_name, std::string metric) {
    Task task;
    task.name = std::move(name);
    task.full_name = std::move(full_name);
    task.labels.names = {"0", "1"};
    task.hub_order = {"0", "1"};
    task.unlabelled = {.text_a = 1};
    task.text_a_names = {"sentence"};
    task.label_names = {"label"};
    task.metrics = {std::move(metric)};
    return task;
}

Task cola() {
    Task task = single_sentence("cola", "CoLA", "matthews_correlation");
    task.header = false;
    task.labelled = {.text_a = 3, .label = 1};
    return task;
}

Task sst2() {
    Task task = single_sentence("sst2", "SST-2", "accuracy");
    task.labelled = {.text_a = 0, .label = 1};
    return task;
}

Task mrpc() {
    Task task;
    task.name = "mrpc";
    task.full_name = "MRPC";
    task.labels.names = {"0", "1"};
    task.hub_order = {"0", "1"};
    task.labelled = {.text_a = 3, .text_b = 4, .label = 0};
    task.unlabelled = {.text_a = 3, .text_b = 4};
    task.text_a_names = {"#1 string", "sentence1"};
    task.text_b_names = {"#2 string", "sentence2"};
    task.label_names = {"quality", "label"};
    task.metrics = {"accuracy", "f1"};
    return task;
}

Task stsb() {
    Task task;
    task.name = "stsb";
    task.full_name = "STS-B";
    task.labels.regression = true;
    task.labelled = {.text_a = 7, .text_b = 8, .label = 9, .label_is_last = true};
    task.unlabelled = {.text_a = 7, .text_b = 8};
    task.text_a_names = {"sentence1"};
    task.text_b_names = {"sentence2"};
    task.label_names = {"score", "label"};
    task.metrics = {"pearson", "spearmanr"};
    return task;
}

Task qqp() {
    Task task;
    task.name = "qqp";
    task.full_name = "QQP";
    task.labels.names = {"0", "1"};
    task.hub_order = {"0", "1"};
    task.labelled = {.text_a = 3, .text_b = 4, .label = 5};
    task.unlabelled = {.text_a = 1, .text_b = 2};
    task.text_a_names = {"question1"};
    task.text_b_names = {"question2"};
    task.label_names = {"is_duplicate", "label"};
    task.metrics = {"accuracy", "f1"};
    task.skip_short_rows = true;
    return task;
}

Task mnli() {
    Task task;
    task.name = "mnli";
    task.full_name = "MNLI";
    task.labels.names = {"contradiction", "entailment", "neutral"};
    task.hub_order = {"entailment", "neutral", "contradiction"};
    task.labelled = {.text_a = 8, .text_b = 9, .label = 10, .label_is_last = true};
    task.unlabelled = {.text_a = 8, .text_b = 9};
    task.text_a_names = {"sentence1", "premise"};
    task.text_b_names = {"sentence2", "hypothesis"};
    task.label_names = {"gold_label", "label"};
    task.metrics = {"accuracy"};
    return task;
}

/// QNLI, RTE and WNLI share their columns: index, two texts, label.
Task inference(std::string name, std::string full_name, Names labels, std::string text_a, std::string text_b) {
    Task task;
    task.name = std::move(name);
    task.full_name = std::move(full_name);
    task.hub_order = labels;
    task.labels.names = std::move(labels);
    task.labelled = {.text_a = 1, .text_b = 2, .label = 3, .label_is_last = true};
    task.unlabelled = {.text_a = 1, .text_b = 2};
    task.text_a_names = {std::move(text_a)};
    task.text_b_names = {std::move(text_b)};
    task.label_names = {"label"};
    task.metrics = {"accuracy"};
    return task;
}

std::vector<Task> make_tasks() {
    const Names entailment = {"entailment", "not_entailment"};
    return {cola(),
            sst2(),
            mrpc(),
            stsb(),
            qqp(),
            mnli(),
            inference("qnli", "QNLI", entailment, "question", "sentence"),
            inference("rte", "RTE", entailment, "sentence1", "sentence2"),
            inference("wnli", "WNLI", {"0", "1"}, "sentence1", "sentence2")};
}

bool is_file(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(path, ignored);
}

std::vector<SplitFile> files_in_folder(const Task& task, const std::filesystem::path& folder, Split split) {
    const std::string stem = split == Split::train ? "train" : split == Split::validation ? "dev" : "test";
    if (task.name != "mnli" || split == Split::train) return {{folder / (stem + ".tsv"), ""}};
    return {{folder / (stem + "_matched.tsv"), ""}, {folder / (stem + "_mismatched.tsv"), "_mm"}};
}

}  // namespace

const std::vector<Task>& all_tasks() {
    static const std::vector<Task> tasks = make_tasks();
    return tasks;
}

const Task& task_named(std::string_view name) {
    std::vector<std::string> names;
    for (const auto& task : all_tasks()) {
        if (task.name == name) return task;
        names.push_back(task.name);
    }
    user_error("unknown task_name '{}'.{} The tasks are {}; leave task_name out for data of your own.", name,
               did_you_mean(name, names), fmt::join(names, ", "));
}

std::vector<SplitFile> split_files(const Task& task, const std::filesystem::path& file_or_folder, Split split) {
    std::error_code ignored;
    if (std::filesystem::is_directory(file_or_folder, ignored)) return files_in_folder(task, file_or_folder, split);
    std::vector<SplitFile> files = {{file_or_folder, ""}};
    std::string name = file_or_folder.filename().string();
    const auto at = name.find("matched");
    if (task.name != "mnli" || split != Split::validation || at == std::string::npos) return files;
    if (name.find("mismatched") != std::string::npos) return files;  // asked for on its own
    const auto neighbour = file_or_folder.parent_path() / name.insert(at, "mis");
    if (is_file(neighbour)) files.push_back({neighbour, "_mm"});
    return files;
}

}  // namespace strata::data
