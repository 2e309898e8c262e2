// The parts of a BERT, nested and named as transformers nests and names them. Only bert.cpp includes this.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/bert_config.h"
#include "models/bias_activation.h"
#include "models/dropout.h"
#include "models/packed_attention.h"
#include "models/packed_input.h"
#include "models/packed_linear.h"
#include "models/residual_norm.h"

namespace strata::models {

bool trains(const torch::nn::Module& part);

/// What every part needs of the batch at hand.
struct ForwardContext {
    LayoutPointer layout;
    LayoutPointer pooled;  // of one row a sequence
    std::optional<DropoutKey> key;
    bool dropout_in_frozen = false;
    AttentionPaths attention = {};

    /// The same for one part of the network: no key where the part is frozen and so does not drop.
    ForwardContext within(const torch::nn::Module& part) const {
        if (!key || dropout_in_frozen || trains(part)) return *this;
        ForwardContext without_key = *this;
        without_key.key.reset();
        return without_key;
    }

    std::optional<DropoutSite> site(std::int64_t id, double probability) const {
        if (!key || probability == 0.0) return std::nullopt;
        return DropoutSite{*key, id, probability};
    }
};

// torch::nn's own layers draw their initial values from the global generator; these do not initialise at all.
struct Dense : torch::nn::Module {
    Dense(std::int64_t in, std::int64_t out, torch::Device device);
    torch::Tensor forward(const torch::Tensor& x) const { return packed_linear(x, weight, bias); }
    /// Without the bias, which goes into what follows.
    torch::Tensor product(const torch::Tensor& x) const { return packed_linear(x, weight, {}); }
    torch::Tensor weight, bias;
};

struct Norm : torch::nn::Module {
    Norm(const BertConfig& config, torch::Device device);
    NormWeights weights() const { return {weight, bias, epsilon}; }
    double epsilon;
    torch::Tensor weight, bias;
};

struct Table : torch::nn::Module {
    Table(std::int64_t rows, std::int64_t columns, torch::Device device);
    torch::Tensor weight;
};

struct Embeddings : torch::nn::Module {
    Embeddings(const BertConfig& config, torch::Device device);
    torch::Tensor forward(const PackedInput& input, const ForwardContext& context) const;
    void check(const PackedInput& input) const;
    double dropout;
    std::int64_t padding_id;
    std::shared_ptr<Table> word_embeddings, position_embeddings, token_type_embeddings;
    std::shared_ptr<Norm> norm;
};

struct SelfAttention : torch::nn::Module {
    SelfAttention(const BertConfig& config, std::int64_t its_site, torch::Device device);
    /// Of the tokens in `queries`: x itself, or its first tokens.
    torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& queries, const ForwardContext& context) const;
    std::int64_t heads, site;
    double dropout;
    std::shared_ptr<Dense> query, key, value;
};

/// LayerNorm(residual + dropout(dense(x))): what ends both halves of a layer.
struct ResidualOutput : torch::nn::Module {
    ResidualOutput(const BertConfig& config, std::int64_t in, std::int64_t its_site, torch::Device device);
    torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& residual, const ForwardContext& context) const;
    std::int64_t site;
    double dropout;
    std::shared_ptr<Dense> dense;
    std::shared_ptr<Norm> norm;
};

struct Attention : torch::nn::Module {
    Attention(const BertConfig& config, std::int64_t first_site, torch::Device device);
    std::shared_ptr<SelfAttention> self;
    std::shared_ptr<ResidualOutput> output;
};

/// A module whose only child is `dense`: transformers' intermediate and pooler.
struct DenseHolder : torch::nn::Module {
    DenseHolder(std::int64_t in, std::int64_t out, torch::Device device);
    std::shared_ptr<Dense> dense;
};

struct Layer : torch::nn::Module {
    Layer(const BertConfig& config, std::int64_t index, torch::Device device);
    torch::Tensor forward(const torch::Tensor& x, const ForwardContext& context) const;
    /// The same for the sequences' first tokens alone, [B, hidden].
    torch::Tensor first_tokens(const torch::Tensor& x, const ForwardContext& context) const;
    /// What follows attention; the context's layout is of these rows.
    torch::Tensor finish(const torch::Tensor& attended, const torch::Tensor& residual,
                         const ForwardContext& context) const;
    ActivationKind activation;
    std::shared_ptr<Attention> attention;
    std::shared_ptr<DenseHolder> intermediate;
    std::shared_ptr<ResidualOutput> output;
};

struct Layers : torch::nn::Module {
    Layers(const BertConfig& config, torch::Device device);
    std::vector<std::shared_ptr<Layer>> all;
};

struct Encoder : torch::nn::Module {
    Encoder(const BertConfig& config, torch::Device device);
    std::shared_ptr<Layers> layer;
};

struct BertModel : torch::nn::Module {
    BertModel(const BertConfig& config, torch::Device device);
    struct How {
        bool whole = false;                                        ///< compute the last layer for all tokens
        bool recomputes = false;                                   ///< keep the layers' inputs alone for backward
        std::function<void(const torch::nn::Module&)> reads = {};  ///< told of each part before its turn
    };
    /// The last layer's outputs at the first tokens, [B, hidden].
    torch::Tensor first_tokens(const PackedInput& input, const ForwardContext& context, const How& how) const;
    torch::Tensor pool(const torch::Tensor& first_tokens) const;
    std::shared_ptr<Embeddings> embeddings;
    std::shared_ptr<Encoder> encoder;
    std::shared_ptr<DenseHolder> pooler;
};

}  // namespace strata::models
