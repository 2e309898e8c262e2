#include "models/bert.h"

#include <torch/nn/module.h>

#include <algorithm>
#include <functional>
#include <initializer_list>

#include "core/error.h"
#include "models/bert_modules.h"
#include "models/fused_attention.h"
#include "models/hf_folder.h"
#include "models/packed_embedding.h"
#include "models/recomputed.h"

namespace strata::models {
namespace {

// Dropout sites: embeddings 0, three a layer from 1, the head at the end of the range so that depth never moves it.
constexpr std::int64_t embeddings_site = 0;
constexpr std::int64_t head_site = -1;
std::int64_t first_site_of(std::int64_t layer) {
    return 1 + 3 * layer;
}

torch::Tensor uninitialised(torch::IntArrayRef shape, torch::Device device) {
    return torch::empty(shape, torch::TensorOptions(torch::kFloat32).device(device));
}

ActivationKind activation_named(const std::string& name) {
    if (name == "gelu") return ActivationKind::gelu;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh") return ActivationKind::gelu_tanh;
    STRATA_CHECK(name == "relu", "activation {}", name);
    return ActivationKind::relu;
}

const PackedInput& tokens_of(const Input& input) {
    const auto* tokens = std::get_if<PackedInput>(&input);
    STRATA_CHECK(tokens != nullptr, "a BERT takes packed tokens");
    return *tokens;
}

void check_below(const torch::Tensor& ids, std::int64_t rows, const char* what) {
    if (!ids.is_cpu()) return;  // a look at them would stop the host; the GPU's own lookup checks
    const std::int64_t* begin = ids.const_data_ptr<std::int64_t>();
    for (const std::int64_t* id = begin; id != begin + ids.numel(); ++id) {
        STRATA_CHECK(*id >= 0 && *id < rows, "{} {} at packed token {}; the table has {} rows", what, *id, id - begin,
                     rows);
    }
}

torch::Tensor first_rows(const torch::Tensor& x, const PackedLayout& layout) {
    return x.index_select(0, layout.on(x.device()).firsts);
}

/// What layers make of one input.
std::vector<torch::Tensor> forward_all(const torch::Tensor& x,
                                       std::initializer_list<std::reference_wrapper<const Dense>> layers) {
    std::vector<torch::Tensor> weights, biases;
    for (const Dense& layer : layers) {
        weights.push_back(layer.weight);
        biases.push_back(layer.bias);
    }
    return packed_linears(x, weights, biases);
}

}  // namespace

bool trains(const torch::nn::Module& part) {
    const auto parameters = part.parameters();
    return std::any_of(parameters.begin(), parameters.end(), [](const auto& p) { return p.requires_grad(); });
}

Dense::Dense(std::int64_t in, std::int64_t out, torch::Device device) {
    weight = register_parameter("weight", uninitialised({out, in}, device));
    bias = register_parameter("bias", uninitialised({out}, device));
}

Norm::Norm(const BertConfig& config, torch::Device device) : epsilon(config.layer_norm_eps) {
    weight = register_parameter("weight", uninitialised({config.hidden_size}, device));
    bias = register_parameter("bias", uninitialised({config.hidden_size}, device));
}

Table::Table(std::int64_t rows, std::int64_t columns, torch::Device device) {
    weight = register_parameter("weight", uninitialised({rows, columns}, device));
}

Embeddings::Embeddings(const BertConfig& config, torch::Device device)
    : dropout(config.hidden_dropout_prob), padding_id(config.pad_token_id) {
    const std::int64_t width = config.hidden_size;
    word_embeddings = register_module("word_embeddings", std::make_shared<Table>(config.vocab_size, width, device));
    position_embeddings =
        register_module("position_embeddings", std::make_shared<Table>(config.max_position_embeddings, width, device));
    token_type_embeddings =
        register_module("token_type_embeddings", std::make_shared<Table>(config.type_vocab_size, width, device));
    norm = register_module("LayerNorm", std::make_shared<Norm>(config, device));
}

void Embeddings::check(const PackedInput& input) const {
    check_below(input.input_ids, word_embeddings->weight.size(0), "token id");
    check_below(input.token_type_ids, token_type_embeddings->weight.size(0), "token type");
    check_below(input.position_ids, position_embeddings->weight.size(0), "position");
}

torch::Tensor Embeddings::forward(const PackedInput& input, const ForwardContext& context) const {
    check(input);
    const torch::Tensor sum = packed_embedding(
        {word_embeddings->weight, token_type_embeddings->weight, position_embeddings->weight, padding_id}, input);
    return packed_dropout(packed_norm(sum, norm->weights()), context.layout, context.site(embeddings_site, dropout));
}

SelfAttention::SelfAttention(const BertConfig& config, std::int64_t its_site, torch::Device device)
    : heads(config.num_attention_heads), site(its_site), dropout(config.attention_probs_dropout_prob) {
    query = register_module("query", std::make_shared<Dense>(config.hidden_size, config.hidden_size, device));
    key = register_module("key", std::make_shared<Dense>(config.hidden_size, config.hidden_size, device));
    value = register_module("value", std::make_shared<Dense>(config.hidden_size, config.hidden_size, device));
}

torch::Tensor SelfAttention::forward(const torch::Tensor& x, const torch::Tensor& queries,
                                     const ForwardContext& context) const {
    const auto attend = [&](const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v) {
        return packed_attention(q, k, v, heads, context.layout, context.site(site, dropout), context.attention);
    };
    if (!queries.is_same(x)) {
        const auto kv = forward_all(x, {*key, *value});
        return attend(query->forward(queries), kv[0], kv[1]);
    }
    const auto qkv = forward_all(x, {*query, *key, *value});
    return attend(qkv[0], qkv[1], qkv[2]);
}

ResidualOutput::ResidualOutput(const BertConfig& config, std::int64_t in, std::int64_t its_site, torch::Device device)
    : site(its_site), dropout(config.hidden_dropout_prob) {
    dense = register_module("dense", std::make_shared<Dense>(in, config.hidden_size, device));
    norm = register_module("LayerNorm", std::make_shared<Norm>(config, device));
}

torch::Tensor ResidualOutput::forward(const torch::Tensor& x, const torch::Tensor& residual,
                                      const ForwardContext& context) const {
    return residual_norm(dense->product(x), dense->bias, residual, norm->weights(), context.layout,
                         context.site(site, dropout));
}

Attention::Attention(const BertConfig& config, std::int64_t first_site, torch::Device device) {
    self = register_module("self", std::make_shared<SelfAttention>(config, first_site, device));
    output =
        register_module("output", std::make_shared<ResidualOutput>(config, config.hidden_size, first_site + 1, device));
}

DenseHolder::DenseHolder(std::int64_t in, std::int64_t out, torch::Device device) {
    dense = register_module("dense", std::make_shared<Dense>(in, out, device));
}

Layer::Layer(const BertConfig& config, std::int64_t index, torch::Device device)
    : activation(activation_named(config.hidden_act)) {
    const std::int64_t first_site = first_site_of(index);
    attention = register_module("attention", std::make_shared<Attention>(config, first_site, device));
    intermediate = register_module("intermediate",
                                   std::make_shared<DenseHolder>(config.hidden_size, config.intermediate_size, device));
    output = register_module(
        "output", std::make_shared<ResidualOutput>(config, config.intermediate_size, first_site + 2, device));
}

torch::Tensor Layer::forward(const torch::Tensor& x, const ForwardContext& context) const {
    return finish(attention->self->forward(x, x, context), x, context);
}

torch::Tensor Layer::first_tokens(const torch::Tensor& x, const ForwardContext& context) const {
    const torch::Tensor first = first_rows(x, *context.layout);
    ForwardContext of_first = context;
    of_first.layout = context.pooled;
    return finish(attention->self->forward(x, first, context), first, of_first);
}

torch::Tensor Layer::finish(const torch::Tensor& attended, const torch::Tensor& residual,
                            const ForwardContext& context) const {
    const torch::Tensor middle = attention->output->forward(attended, residual, context);
    const Dense& inner = *intermediate->dense;
    return output->forward(bias_activation(inner.product(middle), inner.bias, activation), middle, context);
}

Layers::Layers(const BertConfig& config, torch::Device device) {
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
        all.push_back(register_module(std::to_string(i), std::make_shared<Layer>(config, i, device)));
    }
}

Encoder::Encoder(const BertConfig& config, torch::Device device) {
    layer = register_module("layer", std::make_shared<Layers>(config, device));
}

BertModel::BertModel(const BertConfig& config, torch::Device device) {
    embeddings = register_module("embeddings", std::make_shared<Embeddings>(config, device));
    encoder = register_module("encoder", std::make_shared<Encoder>(config, device));
    pooler = register_module("pooler", std::make_shared<DenseHolder>(config.hidden_size, config.hidden_size, device));
}

torch::Tensor BertModel::first_tokens(const PackedInput& input, const ForwardContext& context, const How& how) const {
    how.reads(*embeddings);
    torch::Tensor x = embeddings->forward(input, context.within(*embeddings));
    const auto& layers = encoder->layer->all;
    for (const auto& layer : layers) {
        how.reads(*layer);
        const bool first_only = !how.whole && layer == layers.back();
        ForwardContext its_context = context.within(*layer);
        if (how.recomputes) its_context.attention.kept = std::make_shared<AttentionOutcome>();
        const auto part = [layer, first_only, its_context](const torch::Tensor& in) {
            return first_only ? layer->first_tokens(in, its_context) : layer->forward(in, its_context);
        };
        x = how.recomputes ? recomputed({part, trains(*layer)}, x) : part(x);
    }
    return how.whole ? first_rows(x, *context.layout) : x;
}

torch::Tensor BertModel::pool(const torch::Tensor& first_tokens) const {
    return torch::tanh(pooler->dense->forward(first_tokens));
}

BertForSequenceClassification::BertForSequenceClassification(const BertConfig& config, torch::Device device)
    : config_(config) {
    bert_ = register_module("bert", std::make_shared<BertModel>(config, device));
    classifier_ =
        register_module("classifier", std::make_shared<Dense>(config.hidden_size, config.num_labels(), device));
}

NamedTensors BertForSequenceClassification::named_parameter_list() const {
    NamedTensors list;
    for (const auto& item : named_parameters()) list.emplace_back(item.key(), item.value());
    return list;
}

bool BertForSequenceClassification::has_fixed_calls() const {
    return fused_attention_takes(config_.hidden_size / config_.num_attention_heads);
}

FolderWriter BertForSequenceClassification::folder_writer(const std::filesystem::path& tokenizer_source) const {
    return [config = config_, tokenizer_source](const std::filesystem::path& folder, const NamedTensors& parameters) {
        save_model(folder, parameters, config, tokenizer_source);
    };
}

torch::Tensor BertForSequenceClassification::forward(const Input& any_input, const std::optional<DropoutKey>& dropout) {
    const PackedInput& input = tokens_of(any_input);
    const ForwardContext context{make_layout(input), make_pooled_layout(input.sample_positions, input.pooled), dropout,
                                 dropout_in_frozen(), attention_paths()};
    const auto reading = [this](const torch::nn::Module& part) { reads(part); };
    const BertModel::How how{fixed_width().has_value(), recomputes(), reading};
    return head(bert_->first_tokens(input, context, how), context);
}

std::optional<std::int64_t> BertForSequenceClassification::fixed_width() const {
    if (dropout_in_frozen() || trains(*bert_->embeddings) || trains(*bert_->encoder)) return std::nullopt;
    return config_.hidden_size;
}

torch::Tensor BertForSequenceClassification::fixed_part(const Input& any_input) {
    const torch::NoGradGuard no_grad;
    const PackedInput& input = tokens_of(any_input);
    const ForwardContext context{make_layout(input), nullptr, std::nullopt, false, attention_paths()};
    const auto reading = [this](const torch::nn::Module& part) { reads(part); };
    return bert_->first_tokens(input, context, {.whole = true, .recomputes = false, .reads = reading});
}

torch::Tensor BertForSequenceClassification::forward_from(const FixedInput& fixed,
                                                          const std::optional<DropoutKey>& dropout) {
    const LayoutPointer pooled = make_pooled_layout(fixed.sample_positions, fixed.pooled);
    return head(fixed.rows, {nullptr, pooled, dropout, dropout_in_frozen()});
}

AttentionPaths BertForSequenceClassification::attention_paths() const {
    return {.fused = !ordered_sums()};
}

/// What follows the encoder.
torch::Tensor BertForSequenceClassification::head(const torch::Tensor& first_tokens,
                                                  const ForwardContext& context) const {
    reads(*bert_->pooler);
    reads(*classifier_);
    const torch::Tensor pooled = bert_->pool(first_tokens.to(classifier_->weight.scalar_type()));
    const std::optional<DropoutSite> site = context.within(*classifier_).site(head_site, config_.head_dropout());
    const torch::Tensor logits = classifier_->forward(packed_dropout(pooled, context.pooled, site));
    return c10::isReducedFloatingType(logits.scalar_type()) ? logits.to(torch::kFloat32) : logits;
}

}  // namespace strata::models
