#include "models/activations.h"

#include <fmt/format.h>

#include <algorithm>

namespace strata::models {
namespace {

constexpr std::int64_t fp32_bytes = sizeof(float);

/// Walks the network as forward does, in bytes. Sums of rows are fp32 whatever the rest is.
class Walk {
  public:
    Walk(const BertConfig& config, const BatchSize& batch, const std::function<bool(const std::string&)>& trains,
         std::int64_t element_bytes)
        : trains_(trains),
          element_(element_bytes),
          tokens_(batch.sequences * batch.length),
          hidden_(tokens_ * config.hidden_size * element_),
          inner_(tokens_ * config.intermediate_size * element_),
          sums_(tokens_ * config.num_attention_heads * fp32_bytes),
          weight_(config.hidden_size * config.intermediate_size * element_),
          relu_(config.hidden_act == "relu") {}

    void embeddings(const BertConfig& config) {
        const std::string name = "bert.embeddings.";
        for (const auto& [table, rows] : {std::pair{"word_embeddings", config.vocab_size},
                                          {"position_embeddings", config.max_position_embeddings},
                                          {"token_type_embeddings", config.type_vocab_size}}) {
            if (!trains_(name + table + ".weight")) continue;
            reaches_ = true;
            // Its gradient is made whole before it is added to the others; by then the layers' tensors are gone.
            // In 16 bits its rows are added up in fp32 first.
            const std::int64_t rows_sums = element_ < fp32_bytes ? 2 * tokens_ * config.hidden_size * fp32_bytes : 0;
            other_ = std::max(other_, rows * config.hidden_size * element_ + 2 * hidden_ + rows_sums);
        }
        norm(name + "LayerNorm");
        passing_forward(4 * hidden_);  // words, types, positions and their sum
    }

    void layer(std::int64_t index) {
        const std::string name = fmt::format("bert.encoder.layer.{}.", index);
        // Query, key and value have one input; each saves itself for attention, which saves a number a row and head.
        bool saves_input = false;
        const bool below = reaches_;
        bool any = below;
        for (const char* part : {"query", "key", "value"}) {
            reaches_ = below;
            saves_input = dense_reaches(name + "attention.self." + part) || saves_input;
            any = any || reaches_;
        }
        reaches_ = any;
        if (saves_input) saved_ += hidden_;
        if (reaches_) saved_ += 3 * hidden_ + sums_;
        if (dense_reaches(name + "attention.output.dense")) saved_ += hidden_;
        norm(name + "attention.output.LayerNorm");
        if (dense_reaches(name + "intermediate.dense")) saved_ += hidden_;
        // GELU saves its input; ReLU its output, which is what the next product saves.
        const bool activation = reaches_;
        const bool product = dense_reaches(name + "output.dense");
        if (activation && !relu_) saved_ += inner_;
        if (product || (activation && relu_)) saved_ += inner_;
        norm(name + "output.LayerNorm");
        if (!reaches_) {
            // Before and behind the activation, in and out of both halves.
            passing_forward(5 * hidden_ + 2 * inner_);
            return;
        }
        // Backward begins here while all is still saved: gradients of the last product's input and weight beside the
        // residual's, then of the activation's two sides. What GELU does not need is gone by then.
        passing_ = std::max(product ? hidden_ + inner_ + weight_ : 0, product && !relu_ ? inner_ : 2 * inner_);
    }

    std::int64_t peak() const { return std::max(saved_ + passing_, other_); }

  private:
    /// After a linear layer; true where it saves its input, for its weight's gradient.
    bool dense_reaches(const std::string& name) {
        const bool weight = trains_(name + ".weight");
        reaches_ = reaches_ || weight || trains_(name + ".bias");
        return weight;
    }

    /// LayerNorm saves its input, and each row's mean and deviation.
    void norm(const std::string& name) {
        reaches_ = reaches_ || trains_(name + ".weight") || trains_(name + ".bias");
        if (reaches_) saved_ += hidden_ + 2 * tokens_ * fp32_bytes;
    }

    void passing_forward(std::int64_t elements) { other_ = std::max(other_, saved_ + elements); }

    const std::function<bool(const std::string&)>& trains_;
    std::int64_t element_, tokens_, hidden_, inner_, sums_, weight_;
    bool relu_;
    bool reaches_ = false;      // a gradient comes down to here
    std::int64_t saved_ = 0;    // until backward takes it
    std::int64_t passing_ = 0;  // comes and goes where backward begins, while all that is saved is there
    std::int64_t other_ = 0;    // the most at any other place
};

}  // namespace

std::int64_t activation_bytes(const BertConfig& config, const BatchSize& batch,
                              const std::function<bool(const std::string&)>& trains, std::int64_t element_bytes) {
    Walk walk(config, batch, trains, element_bytes);
    walk.embeddings(config);
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) walk.layer(i);
    return walk.peak();
}

}  // namespace strata::models
