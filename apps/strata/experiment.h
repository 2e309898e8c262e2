// What a command needs before it can compute: labels, tokenized data and the model, loaded alike on every rank.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/corpus.h"
#include "apps/strata/image_corpus.h"
#include "data/dataset.h"
#include "data/label_set.h"
#include "data/task.h"
#include "data/wordpiece.h"
#include "models/bert_config.h"
#include "models/model.h"
#include "optim/manifest.h"

namespace strata::app {

/// A labelled file to measure on; `suffix` ends its metrics' names ("_mm" for MNLI's mismatched set).
struct EvaluationSet {
    std::shared_ptr<const Corpus> corpus;
    std::string suffix;
};

/// Names and shapes of a model's parameters, tied ones once.
optim::Manifest manifest_of(const models::Model& model);

struct Experiment {
    std::filesystem::path model_source;  ///< the folder or file that the model came from
    std::shared_ptr<models::Model> network;
    std::string load_report;              ///< for people: what of the model was loaded, what is new
    std::vector<std::string> data_notes;  ///< for people: what of the data is worth a line
    data::LabelSet labels;
    std::filesystem::path tokenizer_folder;  ///< whose files go with the saved model; empty where there is no text
    std::shared_ptr<const data::WordPieceTokenizer> tokenizer;
    std::int64_t sequence_limit = 0;      ///< tokens an input is cut to
    std::optional<Normalisation> images;  ///< how images become numbers; nothing where the data is text
    std::shared_ptr<const Corpus> train;
    std::vector<EvaluationSet> validation;
    std::shared_ptr<const Corpus> test;

    bool regression() const { return labels.regression; }
    models::Model& model() const { return *network; }
    optim::Manifest manifest() const { return manifest_of(*network); }
};

/// Tokens an input is cut to: what the user set, else the default or as many positions as the model has. Throws
/// UserError for more than it has.
std::int64_t sequence_limit(const Config& config, const models::BertConfig& model);

/// How the files of a split are read under this configuration.
data::ReadOptions read_options(const Config& config, data::Split split);

/// For training: labels come from the task or the training file, in the order of the folder's own head where it has one
/// with the same names; a new head is made where the folder has none. Images' labels are the numbers below the module's
/// outputs.
Experiment load_for_training(const Config& config);

/// The same for speed alone, from a folder with a config.json: texts without a network yet; where there is no
/// train_file, `samples` inputs, each of as many drawn tokens as an input may have.
Experiment load_texts_for_training(const Config& config, std::int64_t samples);

/// Gives it the network that load_for_training would, but every weight is drawn.
void draw_network(const Config& config, Experiment& experiment);

/// For evaluate and predict: labels come from the model, numbers where it has no names. `needs_labels` refuses data
/// without them.
Experiment load_for_inference(const Config& config, bool needs_labels);

}  // namespace strata::app
