#include "apps/strata/experiment.h"

#include <algorithm>
#include <random>
#include <set>

#include "apps/strata/experiment_data.h"
#include "apps/strata/experiment_script.h"
#include "core/error.h"
#include "models/hf_folder.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

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

std::shared_ptr<const data::WordPieceTokenizer> load_tokenizer(const Config& config, const models::BertConfig& model) {
    const fs::path folder = config.model_name_or_path;
    auto tokenizer = std::make_shared<data::WordPieceTokenizer>(data::WordPieceTokenizer::from_folder(folder));
    const char* source =
        fs::exists(folder / "tokenizer.json") ? "tokenizer.json" : "vocab.txt";  // as from_folder chooses
    models::check_vocabulary(model, static_cast<std::int64_t>(tokenizer->vocab_size()), folder / source);
    return tokenizer;
}

/// The labels of a model folder's head, as data files are read with them.
data::LabelSet labels_of_model(const models::BertConfig& config) {
    return {config.regression, config.regression ? std::vector<std::string>{} : config.label_names};
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

std::int64_t sequence_limit(const Config& config, const models::BertConfig& model) {
    const std::int64_t positions = model.max_position_embeddings;
    if (config.max_seq_length && *config.max_seq_length > positions) {
        user_error("max_seq_length is {}, but the model in {} has only {} positions", *config.max_seq_length,
                   config.model_name_or_path, positions);
    }
    return config.max_seq_length.value_or(std::min(default_sequence_limit, positions));
}

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

optim::Manifest manifest_of(const models::Model& model) {
    optim::Manifest manifest;
    std::set<const void*> seen;
    for (const auto& [name, tensor] : model.named_parameter_list()) {
        if (seen.insert(tensor.const_data_ptr()).second) manifest.push_back({name, tensor.sizes().vec()});
    }
    return manifest;
}

namespace {

/// Labels, tokenizer, data: all but the network.
Experiment load_texts(const Config& config) {
    Experiment experiment;
    experiment.model_source = experiment.tokenizer_folder = config.model_name_or_path;
    const auto head = models::read_bert_config(config.model_name_or_path);
    const fs::path train_file = files_of(config, config.train_file, data::Split::train).front().path;
    experiment.labels = in_order_of_head(data::labels_of(train_file, read_options(config, data::Split::train)), head);
    experiment.tokenizer = load_tokenizer(config, head);
    experiment.sequence_limit = sequence_limit(config, head);
    load_training_data(config, experiment);
    return experiment;
}

models::LoadOptions load_options(const Config& config, const data::LabelSet& labels) {
    auto options = load_options(config);
    options.labels = models::HeadLabels{labels.names, labels.regression};
    return options;
}

/// Inputs of `length` tokens that say nothing, of two classes in turn.
std::shared_ptr<const Corpus> drawn_texts(std::int64_t samples, std::int64_t length, std::int64_t vocabulary,
                                          std::uint64_t seed) {
    auto tokens = std::make_shared<data::TokenSequences>();
    std::mt19937_64 draw(seed);
    data::Dataset dataset;
    dataset.has_labels = true;
    for (std::int64_t i = 0; i < samples; ++i) {
        for (std::int64_t t = 0; t < length; ++t)
            tokens->ids.push_back(static_cast<std::int32_t>(draw() % static_cast<std::uint64_t>(vocabulary)));
        tokens->end_input(static_cast<std::size_t>(length));
        dataset.examples.push_back({"", std::nullopt, static_cast<double>(i % 2)});
    }
    return std::make_shared<TextCorpus>(dataset, *tokens, tokens);
}

}  // namespace

Experiment load_for_training(const Config& config) {
    require_option(config.train_file, "train_file",
                   "name the training data: .tsv, .csv or .jsonl; images: an IDX file");
    if (!config.torchscript.empty()) return load_script_for_training(config);
    require_option(config.model_name_or_path, "model_name_or_path",
                   "name the Hugging Face folder to start from, or a module with --torchscript");
    Experiment experiment = load_texts(config);
    const models::LoadedModel loaded =
        models::load_model(config.model_name_or_path, load_options(config, experiment.labels));
    experiment.network = loaded.model;
    experiment.load_report = loaded.report.summary();
    return experiment;
}

Experiment load_texts_for_training(const Config& config, std::int64_t samples) {
    require_option(config.model_name_or_path, "model_name_or_path", "name a folder with a config.json");
    if (!config.train_file.empty()) return load_texts(config);
    const auto model = models::read_bert_config(config.model_name_or_path);
    Experiment experiment;
    experiment.model_source = config.model_name_or_path;
    experiment.labels = {false, numbered_labels(2)};
    experiment.sequence_limit = sequence_limit(config, model);
    experiment.train =
        drawn_texts(samples, experiment.sequence_limit, model.vocab_size, static_cast<std::uint64_t>(config.seed));
    return experiment;
}

void draw_network(const Config& config, Experiment& experiment) {
    experiment.network = models::draw_model(config.model_name_or_path, load_options(config, experiment.labels)).model;
}

Experiment load_for_inference(const Config& config, bool needs_labels) {
    if (!config.torchscript.empty()) return load_script_for_inference(config, needs_labels);
    require_option(config.model_name_or_path, "model_name_or_path",
                   "name the Hugging Face folder to use, or a module with --torchscript");
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
    load_inference_data(config, experiment, needs_labels);
    return experiment;
}

}  // namespace strata::app
