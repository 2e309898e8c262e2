#include "apps/strata/experiment.h"

#include <algorithm>

#include "core/error.h"
#include "data/dataset.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

void require_option(const std::string& value, const char* name, const char* what) {
    if (value.empty()) user_error("--{} is missing: {}", name, what);
}

/// Names that transformers makes up when it is told none: they say nothing about order.
bool placeholder_names(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] != "LABEL_" + std::to_string(i)) return false;
    }
    return true;
}

/// The data's labels in the order of the folder's head where both have the same names, so that a loaded head keeps
/// meaning what it meant.
data::LabelSet in_order_of_head(data::LabelSet labels, const models::BertConfig& head) {
    if (labels.regression || !head.labels_given || placeholder_names(head.label_names)) return labels;
    auto sorted_data = labels.names;
    auto sorted_head = head.label_names;
    std::sort(sorted_data.begin(), sorted_data.end());
    std::sort(sorted_head.begin(), sorted_head.end());
    if (sorted_data == sorted_head) labels.names = head.label_names;
    return labels;
}

/// What the user set, else the default or as many positions as the model has. Throws UserError for more than it has.
std::int64_t sequence_limit(const Config& config, const models::BertConfig& model) {
    const std::int64_t positions = model.max_position_embeddings;
    if (config.max_seq_length && *config.max_seq_length > positions) {
        user_error("max_seq_length is {}, but the model in {} has only {} positions", *config.max_seq_length,
                   config.model_name_or_path, positions);
    }
    return config.max_seq_length.value_or(std::min(default_sequence_limit, positions));
}

std::shared_ptr<const data::WordPieceTokenizer> load_tokenizer(const Config& config, const models::BertConfig& model) {
    const fs::path folder = config.model_name_or_path;
    auto tokenizer = std::make_shared<data::WordPieceTokenizer>(data::WordPieceTokenizer::from_folder(folder));
    const char* source =
        fs::exists(folder / "tokenizer.json") ? "tokenizer.json" : "vocab.txt";  // as from_folder chooses
    models::check_vocabulary(model, static_cast<std::int64_t>(tokenizer->vocab_size()), folder / source);
    return tokenizer;
}

std::shared_ptr<const Corpus> load_corpus(const Config& config, const Experiment& experiment, const fs::path& path,
                                          data::Split split) {
    const auto dataset = data::read_dataset(path, read_options(config, split), &experiment.labels);
    return std::make_shared<TextCorpus>(dataset, *experiment.tokenizer, experiment.sequence_limit);
}

/// The files that `path` stands for: itself, or several where the task's split has several.
std::vector<data::SplitFile> files_of(const Config& config, const std::string& path, data::Split split) {
    if (config.task_name.empty()) return {{path, ""}};
    return data::split_files(data::task_named(config.task_name), path, split);
}

std::vector<EvaluationSet> load_evaluation(const Config& config, const Experiment& experiment,
                                           const std::string& path) {
    std::vector<EvaluationSet> sets;
    for (const auto& file : files_of(config, path, data::Split::validation)) {
        sets.push_back({load_corpus(config, experiment, file.path, data::Split::validation), file.metric_suffix});
    }
    return sets;
}

models::LoadOptions load_options(const Config& config) {
    models::LoadOptions options;
    options.seed = static_cast<std::uint64_t>(config.seed);
    options.hidden_dropout_prob = config.hidden_dropout_prob;
    options.attention_probs_dropout_prob = config.attention_probs_dropout_prob;
    options.ignore_mismatched_sizes = config.ignore_mismatched_sizes;
    return options;
}

}  // namespace

data::ReadOptions read_options(const Config& config, data::Split split) {
    data::ReadOptions options;
    options.task_name = config.task_name;
    options.split = split;
    options.encoding = data::parse_encoding(config.encoding);
    if (config.header != "auto") options.header = config.header == "true";
    const auto& limit = split == data::Split::train ? config.max_train_samples : config.max_eval_samples;
    options.max_samples = limit.value_or(-1);
    return options;
}

optim::Manifest Experiment::manifest() const {
    optim::Manifest manifest;
    for (const auto& [name, tensor] : network->named_parameter_list()) manifest.push_back({name, tensor.sizes().vec()});
    return manifest;
}

data::LabelSet labels_of_model(const models::BertConfig& config) {
    return {config.regression, config.regression ? std::vector<std::string>{} : config.label_names};
}

Experiment load_for_training(const Config& config) {
    require_option(config.model_name_or_path, "model_name_or_path", "name the Hugging Face folder to start from");
    require_option(config.train_file, "train_file", "name the training data (.tsv, .csv or .jsonl)");
    Experiment experiment;
    experiment.model_source = experiment.tokenizer_folder = config.model_name_or_path;
    const auto head = models::read_bert_config(config.model_name_or_path);
    const fs::path train_file = files_of(config, config.train_file, data::Split::train).front().path;
    experiment.labels = in_order_of_head(data::labels_of(train_file, read_options(config, data::Split::train)), head);
    experiment.tokenizer = load_tokenizer(config, head);
    experiment.sequence_limit = sequence_limit(config, head);
    experiment.train = load_corpus(config, experiment, train_file, data::Split::train);
    if (!config.validation_file.empty())
        experiment.validation = load_evaluation(config, experiment, config.validation_file);
    if (!config.test_file.empty()) {
        const auto file = files_of(config, config.test_file, data::Split::test).front();
        experiment.test = load_corpus(config, experiment, file.path, data::Split::test);
    }
    auto options = load_options(config);
    options.labels = models::HeadLabels{experiment.labels.names, experiment.labels.regression};
    const models::LoadedModel loaded = models::load_model(config.model_name_or_path, options);
    experiment.network = loaded.model;
    experiment.load_report = loaded.report.summary();
    return experiment;
}

Experiment load_for_inference(const Config& config, bool needs_labels) {
    require_option(config.model_name_or_path, "model_name_or_path", "name the Hugging Face folder to use");
    const bool validation = needs_labels && !config.validation_file.empty();
    const std::string& file = validation ? config.validation_file : config.test_file;
    require_option(file, needs_labels ? "validation_file" : "test_file", "name the data (.tsv, .csv or .jsonl)");
    Experiment experiment;
    experiment.model_source = experiment.tokenizer_folder = config.model_name_or_path;
    const models::LoadedModel loaded = models::load_model(config.model_name_or_path, load_options(config));
    const auto& initialised = loaded.report.initialised;
    if (std::count(initialised.begin(), initialised.end(), "classifier.weight") > 0) {
        user_error("{}: has no classification head, so its predictions would be random; train it first (strata train)",
                   config.model_name_or_path);
    }
    experiment.network = loaded.model;
    experiment.labels = labels_of_model(loaded.config);
    experiment.tokenizer = load_tokenizer(config, loaded.config);
    experiment.sequence_limit = sequence_limit(config, loaded.config);
    if (needs_labels) {
        experiment.validation = load_evaluation(config, experiment, file);
    } else {
        experiment.test = load_corpus(config, experiment, file, data::Split::test);
    }
    return experiment;
}

}  // namespace strata::app
