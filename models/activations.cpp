#include "models/activations.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/hf_folder.h"

namespace strata::models {
namespace {

constexpr std::int64_t fp32_bytes = sizeof(float);

/// Walks the network as forward does, in bytes. Sums of rows are fp32 whatever the rest is.
class Walk {
  public:
    Walk(const BertConfig& config, const BatchSize& batch, const Trains& trains, const StepMemory& memory)
        : trains_(trains),
          width_(config.hidden_size * memory.element_bytes),
          inner_width_(config.intermediate_size * memory.element_bytes),
          columns_(config.hidden_size),
          heads_(config.num_attention_heads),
          tokens_(batch.sequences * batch.length),
          memory_(memory) {}

    void embeddings(const BertConfig& config) {
        const std::string name = "bert.embeddings.";
        for (const auto& [table, rows] : {std::pair{"word_embeddings", config.vocab_size},
                                          {"position_embeddings", config.max_position_embeddings},
                                          {"token_type_embeddings", config.type_vocab_size}}) {
            if (!trains_(name + table + ".weight")) continue;
            reaches_ = true;
            // Its gradient is made whole before it is added to the others; by then the layers' tensors are gone.
            if (!memory_.gradients_in_place) other_ = std::max(other_, (rows + 2 * tokens_) * width_);
        }
        norm(name + "LayerNorm", tokens_);
        passing(3 * tokens_ * width_);  // the sum and its norm, and that dropped
    }

    /// `rows`: for how many it is finished, all tokens or the first of each sequence.
    void layer(std::int64_t index, std::int64_t rows) {
        const std::string name = fmt::format("bert.encoder.layer.{}.", index);
        const std::int64_t all = tokens_ * width_, hidden = rows * width_, inner = rows * inner_width_;
        const bool first_only = rows != tokens_;
        const std::int64_t before = saved_;
        // Query, key and value have one input; each saves itself for attention, which saves a number a row and head.
        const bool below = reaches_;
        const bool query = reached(name + "attention.self.query", below);
        const bool key = reached(name + "attention.self.key", below);
        const bool value = reached(name + "attention.self.value", below);
        reaches_ = query || key || value;
        const auto saves = [&](const char* part) { return trains_(name + "attention.self." + part + ".weight"); };
        if (saves("key") || saves("value") || (!first_only && saves("query"))) saved_ += all;
        if (first_only && saves("query")) saved_ += hidden;
        if (reaches_) saved_ += 2 * all + hidden + rows * heads_ * fp32_bytes;
        // Where attention's backward pass begins: the gradients of its output and of its three inputs.
        if (reaches_) passing(2 * all + 2 * hidden);
        if (dense_reaches(name + "attention.output.dense")) saved_ += hidden;
        norm(name + "attention.output.LayerNorm", rows);
        if (dense_reaches(name + "intermediate.dense")) saved_ += hidden;
        if (reaches_) saved_ += inner;  // what the activation is of
        const bool product = dense_reaches(name + "output.dense");
        if (product) saved_ += inner;
        norm(name + "output.LayerNorm", rows);
        if (!reaches_) {
            // Before and behind the activation, in and out of both halves, and the last sum.
            passing(6 * hidden + 2 * inner);
            return;
        }
        // Backward begins here while all but the last sum is still saved: the gradients of the residual and of the last
        // product's output, input and weight; then of the activation's two sides, when what that product saved is gone.
        // A layer that is computed again has its output and that one's gradient beside it.
        const std::int64_t again = memory_.recomputes ? 2 * hidden : 0;
        const std::int64_t weight = product && !memory_.gradients_in_place ? columns_ * inner_width_ : 0;
        passing(again + hidden + inner + weight);
        passing(again + (product ? inner : 2 * inner));
        // What was counted is there while the layer runs again; else its input alone.
        if (memory_.recomputes) saved_ = before + all;
    }

    std::int64_t peak() const { return std::max(saved_, other_); }

  private:
    bool reached(const std::string& dense, bool below) const {
        return below || trains_(dense + ".weight") || trains_(dense + ".bias");
    }

    /// After a linear layer; true where it saves its input, for its weight's gradient.
    bool dense_reaches(const std::string& name) {
        reaches_ = reached(name, reaches_);
        return trains_(name + ".weight");
    }

    /// LayerNorm saves its input, and each row's mean and deviation.
    void norm(const std::string& name, std::int64_t rows) {
        reaches_ = reached(name, reaches_);
        if (reaches_) saved_ += rows * (width_ + 2 * fp32_bytes);
    }

    /// What comes and goes while all is there that is saved up to here.
    void passing(std::int64_t bytes) { other_ = std::max(other_, saved_ + bytes); }

    const Trains& trains_;
    std::int64_t width_, inner_width_;  // bytes of a row
    std::int64_t columns_, heads_, tokens_;
    StepMemory memory_;
    bool reaches_ = false;    // a gradient comes down to here
    std::int64_t saved_ = 0;  // until backward takes it
    std::int64_t other_ = 0;  // the most at any moment
};

}  // namespace

bool first_tokens_only(const BertConfig& config, const Trains& trains, std::int64_t layer) {
    if (layer + 1 < config.num_hidden_layers) return false;
    for (const auto& [name, shape] : parameter_shapes(config)) {
        if (!name.starts_with("bert.pooler.") && !name.starts_with("classifier.") && trains(name)) return true;
    }
    return false;
}

std::int64_t activation_bytes(const BertConfig& config, const BatchSize& batch, const Trains& trains,
                              const StepMemory& memory) {
    Walk walk(config, batch, trains, memory);
    walk.embeddings(config);
    const std::int64_t tokens = batch.sequences * batch.length;
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
        walk.layer(i, first_tokens_only(config, trains, i) ? batch.sequences : tokens);
    }
    return walk.peak();
}

}  // namespace strata::models
