#include "models/step_work.h"

#include <fmt/format.h>

namespace strata::models {
namespace {

/// Walks the network as forward does and adds up what both passes multiply.
class Walk {
  public:
    Walk(const BertConfig& config, const BatchLengths& batch, const Trains& trains)
        : config_(config), batch_(batch), trains_(trains) {}

    void embeddings() {
        const std::string name = "bert.embeddings.";
        for (const char* table : {"word_embeddings", "position_embeddings", "token_type_embeddings"}) {
            reaches_ = reaches_ || trains_(name + table + ".weight");
        }
        norm(name + "LayerNorm");
    }

    void layer(std::int64_t index) {
        const std::string name = fmt::format("bert.encoder.layer.{}.", index);
        const bool first_only = first_tokens_only(config_, trains_, index);
        const std::int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
        const std::int64_t rows = first_only ? batch_.sequences : batch_.tokens;
        const bool below = reaches_;
        bool reached = false;
        for (const auto& [part, its_rows] :
             {std::pair{"query", rows}, {"key", batch_.tokens}, {"value", batch_.tokens}}) {
            reaches_ = below;
            dense(name + "attention.self." + part, its_rows, hidden, hidden);
            reached = reached || reaches_;
        }
        reaches_ = reached;
        // Scores and their product with the values; backward makes two products of each.
        const auto pairs = static_cast<double>(first_only ? batch_.tokens : batch_.squares);
        operations_ += (reaches_ ? 3 : 1) * 4.0 * pairs * static_cast<double>(hidden);
        dense(name + "attention.output.dense", rows, hidden, hidden);
        norm(name + "attention.output.LayerNorm");
        dense(name + "intermediate.dense", rows, hidden, inner);
        dense(name + "output.dense", rows, inner, hidden);
        norm(name + "output.LayerNorm");
    }

    void head() {
        dense("bert.pooler.dense", batch_.sequences, config_.hidden_size, config_.hidden_size);
        dense("classifier", batch_.sequences, config_.hidden_size, config_.num_labels());
    }

    double operations() const { return operations_; }

  private:
    void dense(const std::string& name, std::int64_t rows, std::int64_t in, std::int64_t out) {
        const double product = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
        const bool trains = trains_(name + ".weight");
        operations_ += product * (1 + (reaches_ ? 1 : 0) + (trains ? 1 : 0));
        reaches_ = reaches_ || trains || trains_(name + ".bias");
    }

    void norm(const std::string& name) { reaches_ = reaches_ || trains_(name + ".weight") || trains_(name + ".bias"); }

    const BertConfig& config_;
    const BatchLengths& batch_;
    const Trains& trains_;
    bool reaches_ = false;  // a gradient comes down to here
    double operations_ = 0;
};

}  // namespace

double step_operations(const BertConfig& config, const BatchLengths& batch, const Trains& trains) {
    Walk walk(config, batch, trains);
    walk.embeddings();
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) walk.layer(i);
    walk.head();
    return walk.operations();
}

}  // namespace strata::models
