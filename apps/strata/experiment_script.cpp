#include "apps/strata/experiment_script.h"

#include "apps/strata/experiment_data.h"
#include "core/error.h"
#include "models/torchscript.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

bool holds_tokenizer(const fs::path& folder) {
    return fs::exists(folder / "tokenizer.json") || fs::exists(folder / "vocab.txt");
}

fs::path tokenizer_folder_of(const Config& config) {
    if (!config.tokenizer_name.empty()) return config.tokenizer_name;
    const fs::path beside = fs::absolute(config.torchscript).parent_path();
    if (!holds_tokenizer(beside)) {
        user_error(
            "--tokenizer_name is missing: {} takes texts, so name the folder that holds the vocab.txt or "
            "tokenizer.json "
            "it was made for",
            config.torchscript);
    }
    return beside;
}

Normalisation normalisation_of(const Config& config, const std::optional<models::ScriptNotes>& notes) {
    Normalisation normalisation;
    if (notes && !notes->image_mean.empty()) normalisation = {notes->image_mean, notes->image_std};
    if (!config.image_mean.empty()) normalisation.mean = config.image_mean;
    if (!config.image_std.empty()) normalisation.std = config.image_std;
    return normalisation;
}

/// Everything but labels and data.
Experiment open_script(const Config& config, const models::TorchScriptModel& model) {
    Experiment experiment;
    experiment.model_source = config.torchscript;
    experiment.load_report =
        fmt::format("loaded {} parameters and {} buffers from {}", model.named_parameter_list().size(),
                    model.named_buffer_list().size(), config.torchscript);
    if (!model.takes_text()) {
        experiment.images = normalisation_of(config, model.notes());
        return experiment;
    }
    experiment.tokenizer_folder = tokenizer_folder_of(config);
    experiment.tokenizer =
        std::make_shared<data::WordPieceTokenizer>(data::WordPieceTokenizer::from_folder(experiment.tokenizer_folder));
    experiment.sequence_limit = config.max_seq_length.value_or(default_sequence_limit);
    return experiment;
}

/// Outputs for a text of one token.
std::int64_t text_outputs(models::Model& model) {
    return outputs_of(model, models::PackedInput::from_vectors({0}, {}, {}, {0, 1}, {}));
}

void require_outputs(const Config& config, const Experiment& experiment, std::int64_t outputs) {
    if (outputs == experiment.labels.outputs()) return;
    user_error("{}: gives {} outputs, but the data has {}; save the module with a head for these labels",
               config.torchscript, outputs,
               experiment.regression() ? "numbers to predict, which take 1"
                                       : fmt::format("{} labels", experiment.labels.outputs()));
}

data::LabelSet labels_of_script(const Config& config, models::TorchScriptModel& model) {
    if (model.notes()) return {model.notes()->labels.empty(), model.notes()->labels};
    if (!model.takes_text()) return {};  // the images will tell
    if (!config.task_name.empty()) return data::task_named(config.task_name).labels;
    const std::int64_t outputs = text_outputs(model);
    if (outputs == 1) return {true, {}};
    return {false, numbered_labels(outputs)};
}

}  // namespace

Experiment load_script_for_training(const Config& config) {
    const auto model = std::make_shared<models::TorchScriptModel>(config.torchscript);
    Experiment experiment = open_script(config, *model);
    experiment.network = model;
    if (model->takes_text()) {
        const fs::path train_file = files_of(config, config.train_file, data::Split::train).front().path;
        experiment.labels = data::labels_of(train_file, read_options(config, data::Split::train));
        require_outputs(config, experiment, text_outputs(*model));
    }
    load_training_data(config, experiment);
    models::ScriptNotes notes{experiment.labels.names, {}, {}};
    if (experiment.images) {
        notes.image_mean = experiment.images->mean;
        notes.image_std = experiment.images->std;
    }
    model->set_notes(std::move(notes));
    return experiment;
}

Experiment load_script_for_inference(const Config& config, bool needs_labels) {
    const auto model = std::make_shared<models::TorchScriptModel>(config.torchscript);
    Experiment experiment = open_script(config, *model);
    experiment.network = model;
    experiment.labels = labels_of_script(config, *model);
    load_inference_data(config, experiment, needs_labels);
    return experiment;
}

}  // namespace strata::app
