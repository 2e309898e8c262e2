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
#include "models/safetensors.h"

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

/// The same from config.json alone: every parameter is drawn, no weights are read.
LoadedModel draw_model(const std::filesystem::path& folder, const LoadOptions& options);

/// Parameter names and shapes of the model that load_model would make, in order: no weights are read.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> parameter_shapes(const BertConfig& config);

/// Writes model.safetensors and copies of `tokenizer_source`'s tokenizer files, byte for byte (none when the path is
/// empty). The folder is made if need be. Throws SystemError naming the file that could not be written.
void write_model_folder(const std::filesystem::path& folder, const NamedTensors& tensors,
                        const std::filesystem::path& tokenizer_source);

/// Copies `source`'s tokenizer files, byte for byte; an empty path has none.
void copy_tokenizer(const std::filesystem::path& source, const std::filesystem::path& folder);

/// The same, and config.json.
void save_model(const std::filesystem::path& folder, const NamedTensors& parameters, const BertConfig& config,
                const std::filesystem::path& tokenizer_source);

/// A folder as save_pretrained writes it, from tensors that are made one at a time.
struct FolderExport {
    std::filesystem::path source;        // the folder whose config.json and tokenizer files it has
    std::vector<TensorOutline> tensors;  // in the order of the model, which decides what goes into which shard
    MakeTensor make;                     // gives them in any type; floating ones are converted
    torch::ScalarType dtype;             // of all floating ones in the folder
    std::uint64_t max_shard_bytes;
};

/// Writes config.json with its torch_dtype, the tokenizer's files, and model.safetensors or, where that would be larger
/// than a shard may be, model-00001-of-0000N.safetensors, … and model.safetensors.index.json. The folder is whole or
/// absent. UserError where it is there already, where the source has no config.json, and where `dtype` cannot hold a
/// number.
void export_folder(const std::filesystem::path& folder, const FolderExport& content);

/// The tensors of each shard, as huggingface_hub's split_torch_state_dict_into_shards cuts them: a tensor joins the
/// shard that is open unless that would then be too large, and one that is too large by itself has a shard of its own.
std::vector<std::vector<TensorOutline>> split_into_shards(std::span<const TensorOutline> tensors,
                                                          std::uint64_t max_shard_bytes);

/// "5GB", "200 MB": decimal units KB to TB, as huggingface_hub reads them; plain digits are bytes. `where` opens the
/// UserError's message.
std::uint64_t parse_shard_size(const std::string& text, const std::string& where);

/// Throws UserError when the tokenizer can produce ids beyond the embedding table.
void check_vocabulary(const BertConfig& config, std::int64_t vocabulary_entries,
                      const std::filesystem::path& vocabulary_file);

/// Normal numbers N(0, deviation) as a pure function of (seed, name, element): whatever rank asks, whatever was drawn
/// before.
torch::Tensor keyed_normal(const std::vector<std::int64_t>& shape, double deviation, std::uint64_t seed,
                           const std::string& name);

}  // namespace strata::models
