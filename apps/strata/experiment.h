// What a command needs before it can compute: labels, tokenized data and the model, loaded alike on every rank.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/corpus.h"
#include "data/dataset.h"
#include "data/label_set.h"
#include "data/task.h"
#include "models/hf_folder.h"
#include "optim/manifest.h"

namespace strata::app {

/// A labelled file to measure on; `suffix` ends its metrics' names ("_mm" for MNLI's mismatched set).
struct EvaluationSet {
    Corpus corpus;
    std::string suffix;
};

struct Experiment {
    std::filesystem::path model_folder;
    data::LabelSet labels;
    models::LoadedModel loaded;
    std::shared_ptr<const data::WordPieceTokenizer> tokenizer;
    std::int64_t sequence_limit = 0;  ///< tokens an input is cut to
    std::optional<Corpus> train;
    std::vector<EvaluationSet> validation;
    std::optional<Corpus> test;

    bool regression() const { return labels.regression; }
    models::SequenceModel& model() const { return *loaded.model; }
    optim::Manifest manifest() const;
};

/// How the files of a split are read under this configuration.
data::ReadOptions read_options(const Config& config, data::Split split);

/// For training: labels come from the task or the training file, in the order of the folder's own head where it has one
/// with the same names; a new head is made where the folder has none.
Experiment load_for_training(const Config& config);

/// For evaluate and predict: labels come from the folder. `needs_labels` refuses data without them.
Experiment load_for_inference(const Config& config, bool needs_labels);

/// The labels of a model folder's head, as data files are read with them.
data::LabelSet labels_of_model(const models::BertConfig& config);

}  // namespace strata::app
