// A BERT's config.json: its sizes, and the labels of its classification head.
//
// Missing keys take Hugging Face's defaults. The file's own JSON is kept, so that writing it back loses no key. Errors
// are UserError and name the file and the key: malformed JSON, an unsupported model_type, impossible or absurd sizes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace strata::models {

struct BertConfig {
    std::int64_t vocab_size = 30522;
    std::int64_t hidden_size = 768;
    std::int64_t num_hidden_layers = 12;
    std::int64_t num_attention_heads = 12;
    std::int64_t intermediate_size = 3072;
    std::int64_t max_position_embeddings = 512;
    std::int64_t type_vocab_size = 2;
    std::int64_t pad_token_id = 0;  // -1: none
    std::string hidden_act = "gelu";
    double hidden_dropout_prob = 0.1;
    double attention_probs_dropout_prob = 0.1;
    std::optional<double> classifier_dropout;  // absent: hidden_dropout_prob
    double initializer_range = 0.02;
    double layer_norm_eps = 1e-12;

    std::vector<std::string> label_names = {"LABEL_0", "LABEL_1"};  // id2label, by id
    bool labels_given = false;                                      // the file had id2label or num_labels
    bool regression = false;                                        // problem_type "regression", one output

    nlohmann::json raw = nlohmann::json::object();  // the file as it was

    std::int64_t num_labels() const { return static_cast<std::int64_t>(label_names.size()); }
    double head_dropout() const { return classifier_dropout.value_or(hidden_dropout_prob); }

    /// New labels for the head. Regression has one output, named LABEL_0 when `names` is empty.
    void set_labels(std::vector<std::string> names, bool is_regression);

    /// Throws UserError naming `where` and the key when a size cannot be.
    void check(const std::string& where) const;

    /// `raw` with everything above written over it, as transformers expects of a BertForSequenceClassification.
    nlohmann::json to_json() const;
};

/// `where` names the source in messages.
BertConfig parse_bert_config(const std::string& text, const std::string& where);

/// `folder`/config.json.
BertConfig read_bert_config(const std::filesystem::path& folder);

}  // namespace strata::models
