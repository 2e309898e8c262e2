// A Hugging Face model folder, in and out: config.json, model.safetensors (or shards with an index), tokenizer files.
//
// Reading accepts the names that are about: LayerNorm.gamma/beta, with and without the `bert.` prefix, a `module.`
// prefix, cls.* heads of pretraining (ignored, and listed). What the folder lacks (pooler, head) is newly initialised
// and listed. Everything the user can have got wrong is a UserError that names the file, the tensor and the remedy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/bert.h"
#include "models/bert_config.h"

namespace strata::models {

/// Names as the model has them (loaded, initialised) or as the files have them (ignored).
struct LoadReport {
    std::vector<std::string> loaded, initialised, ignored;

    /// For people: counts, and the names of the last two lists.
    std::string summary() const;
};

/// The labels of the data at hand; class i is names[i]. Regression has one output and no names.
struct HeadLabels {
    std::vector<std::string> names;
    bool regression = false;
};

struct LoadOptions {
    std::optional<HeadLabels> labels;  // absent: the folder's own (evaluate, predict)
    std::uint64_t seed = 42;           // for what is newly initialised
    std::optional<double> hidden_dropout_prob, attention_probs_dropout_prob, classifier_dropout;
    bool ignore_mismatched_sizes = false;  // re-initialise a head of another size instead of refusing it
};

struct LoadedModel {
    std::shared_ptr<BertForSequenceClassification> model;
    BertConfig config;
    LoadReport report;
};

/// The model in `folder`, fp32, every parameter requiring gradients. A head in the folder is loaded when it has as many
/// outputs as there are labels; another size is refused unless `ignore_mismatched_sizes`.
LoadedModel load_model(const std::filesystem::path& folder, const LoadOptions& options);

/// Parameter names and shapes of the model that load_model would make, in order: no weights are read.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> parameter_shapes(const BertConfig& config);

/// Writes model.safetensors and copies of `tokenizer_source`'s tokenizer files, byte for byte (none when the path is
/// empty). The folder is made if need be. Throws SystemError naming the file that could not be written.
void write_model_folder(const std::filesystem::path& folder, const NamedTensors& tensors,
                        const std::filesystem::path& tokenizer_source);

/// The same, and config.json.
void save_model(const std::filesystem::path& folder, const NamedTensors& parameters, const BertConfig& config,
                const std::filesystem::path& tokenizer_source);

/// Throws UserError when the tokenizer can produce ids beyond the embedding table.
void check_vocabulary(const BertConfig& config, std::int64_t vocabulary_entries,
                      const std::filesystem::path& vocabulary_file);

/// Normal numbers N(0, deviation) as a pure function of (seed, name, element): whatever rank asks, whatever was drawn
/// before.
torch::Tensor keyed_normal(const std::vector<std::int64_t>& shape, double deviation, std::uint64_t seed,
                           const std::string& name);

}  // namespace strata::models
