#include "apps/strata/experiment_data.h"

#include <torch/types.h>

#include <algorithm>

#include "apps/strata/threads.h"
#include "apps/strata/token_cache.h"
#include "core/error.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

constexpr const char* name_the_data = "name the data: .tsv, .csv or .jsonl; images: an IDX file";

std::shared_ptr<const Corpus> load_images(const Config& config, Experiment& experiment, const fs::path& path,
                                          data::Split split) {
    data::ImageSet images = data::read_images(path, split, read_options(config, split).max_samples);
    std::vector<std::int64_t> shape = images.sample_shape();
    shape.insert(shape.begin(), 1);
    // Whether the module takes images of this shape shows here, and not after an epoch.
    const std::int64_t outputs = outputs_of(experiment.model(), models::DenseInput{torch::zeros(shape), {0}});
    if (experiment.labels.names.empty()) experiment.labels.names = numbered_labels(outputs);
    data::check_labels(images, experiment.labels.outputs());
    return std::make_shared<ImageCorpus>(std::move(images), *experiment.images);
}

/// A file whose columns are those of the one before it is worth no line of its own.
void note_columns(Experiment& experiment, const data::Dataset& dataset) {
    std::vector<std::string>& notes = experiment.data_notes;
    const bool said = std::any_of(notes.begin(), notes.end(),
                                  [&](const auto& note) { return note.ends_with(": " + dataset.columns); });
    if (dataset.columns.empty() || said) return;
    notes.push_back(fmt::format("{}: {}", dataset.path.string(), dataset.columns));
}

std::shared_ptr<const Corpus> load_corpus(const Config& config, Experiment& experiment, const fs::path& path,
                                          data::Split split) {
    if (experiment.images) return load_images(config, experiment, path, split);
    const auto dataset = data::read_dataset(path, read_options(config, split), &experiment.labels);
    note_columns(experiment, dataset);
    HeldTokens held =
        tokens_of(dataset, *experiment.tokenizer, experiment.sequence_limit, thread_count(), config.cache_dir);
    if (!held.note.empty()) experiment.data_notes.push_back(std::move(held.note));
    return std::make_shared<TextCorpus>(dataset, held.tokens, std::move(held.holder));
}

void load_evaluation(const Config& config, Experiment& experiment, const std::string& path) {
    for (const auto& file : files_of(config, path, data::Split::validation)) {
        experiment.validation.push_back(
            {load_corpus(config, experiment, file.path, data::Split::validation), file.metric_suffix});
    }
}

}  // namespace

std::vector<data::SplitFile> files_of(const Config& config, const std::string& path, data::Split split) {
    if (config.task_name.empty()) return {{path, ""}};
    return data::split_files(data::task_named(config.task_name), path, split);
}

void require_option(const std::string& value, const char* name, const char* what) {
    if (value.empty()) user_error("--{} is missing: {}", name, what);
}

void load_training_data(const Config& config, Experiment& experiment) {
    const auto file_of = [&](const std::string& path, data::Split split) {
        return load_corpus(config, experiment, files_of(config, path, split).front().path, split);
    };
    experiment.train = file_of(config.train_file, data::Split::train);
    if (!config.validation_file.empty()) load_evaluation(config, experiment, config.validation_file);
    if (!config.test_file.empty()) experiment.test = file_of(config.test_file, data::Split::test);
}

void load_inference_data(const Config& config, Experiment& experiment, bool needs_labels) {
    const bool validation = needs_labels && !config.validation_file.empty();
    const std::string& file = validation ? config.validation_file : config.test_file;
    require_option(file, needs_labels ? "validation_file" : "test_file", name_the_data);
    if (needs_labels) {
        load_evaluation(config, experiment, file);
    } else {
        experiment.test = load_corpus(config, experiment, file, data::Split::test);
    }
}

std::int64_t outputs_of(models::Model& model, const models::Input& input) {
    const torch::NoGradGuard no_grad;
    return model.forward(input, std::nullopt).size(1);
}

std::vector<std::string> numbered_labels(std::int64_t count) {
    std::vector<std::string> labels;
    for (std::int64_t i = 0; i < count; ++i) labels.push_back(std::to_string(i));
    return labels;
}

}  // namespace strata::app
