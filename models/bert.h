// BERT with a classification or regression head, on packed tokens: linear layers see [T, hidden], attention goes
// sequence by sequence, nothing is computed for padding but what fused_attention.h says (J. Devlin et al., arXiv
// 1810.04805), and of the last layer nothing but keys and values for tokens that the head does not read.
//
// Parameter names and their order are those of transformers' BertForSequenceClassification.named_parameters(), so a
// Hugging Face folder maps one to one. Parameters are made uninitialised, on the CPU, fp32: hf_folder.h fills them.
#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "models/bert_config.h"
#include "models/model.h"

namespace strata::models {

struct BertModel;  // embeddings, encoder, pooler: bert_modules.h
struct Dense;
struct AttentionPaths;  // packed_attention.h
struct ForwardContext;

class BertForSequenceClassification : public torch::nn::Module, public Model {
  public:
    /// On torch::kMeta there are names and shapes and no memory.
    explicit BertForSequenceClassification(const BertConfig& config, torch::Device device = torch::kCPU);

    /// Logits [B, num_labels] of a PackedInput. A token id, type or position beyond its table is a STRATA_CHECK:
    /// callers check input first.
    torch::Tensor forward(const Input& input, const std::optional<DropoutKey>& dropout) override;

    /// Embeddings and encoder: the last layer's outputs at the sequences' first tokens, computed for all tokens, here
    /// and in forward() while the part is fixed. The pooler is never in it, frozen or not. Both so that a row's bits
    /// depend on its own sequence alone: products of fewer than 12 rows (4 on one thread), as poolers have them and
    /// encoders hardly ever, take other paths through MKL, whose last bits differ.
    std::optional<std::int64_t> fixed_width() const override;
    torch::Tensor fixed_part(const Input& input) override;
    torch::Tensor forward_from(const FixedInput& fixed, const std::optional<DropoutKey>& dropout) override;

    NamedTensors named_parameter_list() const override;

    bool has_fixed_calls() const override;

    /// hf_folder.h's save_model.
    FolderWriter folder_writer(const std::filesystem::path& tokenizer_source) const override;

    const BertConfig& config() const { return config_; }

  private:
    AttentionPaths attention_paths() const;
    torch::Tensor head(const torch::Tensor& first_tokens, const ForwardContext& context) const;

    BertConfig config_;
    std::shared_ptr<BertModel> bert_;
    std::shared_ptr<Dense> classifier_;
};

}  // namespace strata::models
