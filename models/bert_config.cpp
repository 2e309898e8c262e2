#include "models/bert_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace strata::models {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 4> activations = {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"};
constexpr std::int64_t most_labels = 1'000'000;

/// Reads keys of one object; every message names the source and the key.
class Reader {
  public:
    Reader(const json& object, const std::string& where) : object_(object), where_(where) {}

    bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }

    void read(const char* key, std::int64_t& value) const {
        if (!object_.contains(key)) return;
        if (!object_.at(key).is_number_integer()) refuse(key, "a whole number");
        if (object_.at(key).is_number_unsigned() && object_.at(key).get<std::uint64_t>() > INT64_MAX)
            refuse(key, "a sane number");
        value = object_.at(key).get<std::int64_t>();
    }
    void read(const char* key, double& value) const {
        if (!object_.contains(key)) return;
        if (!object_.at(key).is_number()) refuse(key, "a number");
        value = object_.at(key).get<double>();
    }
    void read(const char* key, std::string& value) const {
        if (!object_.contains(key)) return;
        if (!object_.at(key).is_string()) refuse(key, "a string");
        value = object_.at(key).get<std::string>();
    }
    void expect(const char* key, const json& wanted, const char* why) const {
        if (has(key) && object_.at(key) != wanted) {
            user_error("{}: {} is {}; strata {}", where_, key, shown(object_.at(key)), why);
        }
    }
    [[noreturn]] void refuse(const char* key, const char* expected) const {
        user_error("{}: {} is {}, expected {}", where_, key, shown(object_.at(key)), expected);
    }

  private:
    static std::string shown(const json& value) {
        return value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 60);
    }
    const json& object_;
    const std::string& where_;
};

void check_model_type(const json& object, const Reader& reader, const std::string& where) {
    if (!reader.has("model_type")) user_error("{}: there is no model_type; supported: bert", where);
    std::string type;
    reader.read("model_type", type);
    if (type != "bert") user_error("{}: unsupported model_type '{}'; supported: bert", where, type);
    reader.expect("position_embedding_type", "absolute", "supports only \"absolute\"");
    reader.expect("is_decoder", false, "fine-tunes encoders, not decoders");
    reader.expect("add_cross_attention", false, "has no cross attention");
    if (object.value("quantization_config", json()).is_object()) {
        user_error("{}: the model is quantized (quantization_config); strata needs its full-precision weights", where);
    }
}

/// id2label as a list, its keys being exactly 0 .. n-1.
std::vector<std::string> names_by_id(const json& id2label, const std::string& where) {
    if (!id2label.is_object() || id2label.empty())
        user_error("{}: id2label must be an object with a name for each id", where);
    std::vector<std::string> names(id2label.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto found = id2label.find(std::to_string(i));
        if (found == id2label.end() || !found->is_string()) {
            user_error("{}: id2label has {} entries but no name for id {}", where, names.size(), i);
        }
        names[i] = found->get<std::string>();
    }
    return names;
}

std::vector<std::string> numbered_names(std::int64_t count) {
    std::vector<std::string> names;
    for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("LABEL_{}", i));
    return names;
}

void read_labels(const json& object, const Reader& reader, const std::string& where, BertConfig& config) {
    if (reader.has("id2label")) {
        config.label_names = names_by_id(object.at("id2label"), where);
        config.labels_given = true;
    } else if (reader.has("num_labels")) {
        std::int64_t count = 0;
        reader.read("num_labels", count);
        if (count < 1 || count > most_labels) reader.refuse("num_labels", "1 to 1000000");
        config.label_names = numbered_names(count);
        config.labels_given = true;
    }
    std::string problem;
    if (reader.has("problem_type")) reader.read("problem_type", problem);
    // transformers takes a single output for regression unless the file says otherwise.
    config.regression = problem == "regression" || (problem.empty() && config.num_labels() == 1);
    if (problem == "regression" && config.num_labels() != 1) {
        user_error("{}: problem_type is \"regression\" with {} labels; strata supports one output", where,
                   config.num_labels());
    }
}

struct Bounds {
    const char* key;
    std::int64_t value, lowest, highest;
};

void check_probability(const std::string& where, const char* key, double value) {
    if (!(value >= 0.0 && value < 1.0)) user_error("{}: {} is {}, expected 0 <= p < 1", where, key, value);
}

}  // namespace

void BertConfig::set_labels(std::vector<std::string> names, bool is_regression) {
    STRATA_CHECK(!is_regression || names.size() <= 1, "regression with {} labels", names.size());
    if (names.empty() && is_regression) names = numbered_names(1);
    STRATA_CHECK(!names.empty(), "a head without labels");
    label_names = std::move(names);
    labels_given = true;
    regression = is_regression;
}

void BertConfig::check(const std::string& where) const {
    const std::array bounds = {
        Bounds{"vocab_size", vocab_size, 1, std::int64_t{1} << 26},
        Bounds{"hidden_size", hidden_size, 1, 65536},
        Bounds{"num_hidden_layers", num_hidden_layers, 0, 4096},
        Bounds{"num_attention_heads", num_attention_heads, 1, 65536},
        Bounds{"intermediate_size", intermediate_size, 1, std::int64_t{1} << 22},
        Bounds{"max_position_embeddings", max_position_embeddings, 1, std::int64_t{1} << 24},
        Bounds{"type_vocab_size", type_vocab_size, 1, 65536},
        Bounds{"pad_token_id", pad_token_id, -1, vocab_size - 1},
    };
    for (const Bounds& bound : bounds) {
        if (bound.value < bound.lowest || bound.value > bound.highest) {
            user_error("{}: {} is {}, expected {} to {}", where, bound.key, bound.value, bound.lowest, bound.highest);
        }
    }
    if (hidden_size % num_attention_heads != 0) {
        user_error("{}: hidden_size {} is not a multiple of num_attention_heads {}", where, hidden_size,
                   num_attention_heads);
    }
    if (std::find(activations.begin(), activations.end(), hidden_act) == activations.end()) {
        user_error("{}: unsupported hidden_act '{}'; supported: {}", where, hidden_act, fmt::join(activations, ", "));
    }
    check_probability(where, "hidden_dropout_prob", hidden_dropout_prob);
    check_probability(where, "attention_probs_dropout_prob", attention_probs_dropout_prob);
    check_probability(where, "classifier_dropout", head_dropout());
    if (!(layer_norm_eps > 0.0 && layer_norm_eps < 1.0)) {
        user_error("{}: layer_norm_eps is {}, expected between 0 and 1", where, layer_norm_eps);
    }
    if (!(initializer_range >= 0.0 && initializer_range < 100.0)) {
        user_error("{}: initializer_range is {}, expected 0 to 100", where, initializer_range);
    }
}

json BertConfig::to_json() const {
    json out = raw;
    out["model_type"] = "bert";
    out["architectures"] = {"BertForSequenceClassification"};
    out["vocab_size"] = vocab_size;
    out["hidden_size"] = hidden_size;
    out["num_hidden_layers"] = num_hidden_layers;
    out["num_attention_heads"] = num_attention_heads;
    out["intermediate_size"] = intermediate_size;
    out["max_position_embeddings"] = max_position_embeddings;
    out["type_vocab_size"] = type_vocab_size;
    out["pad_token_id"] = pad_token_id < 0 ? json() : json(pad_token_id);
    out["hidden_act"] = hidden_act;
    out["hidden_dropout_prob"] = hidden_dropout_prob;
    out["attention_probs_dropout_prob"] = attention_probs_dropout_prob;
    out["classifier_dropout"] = classifier_dropout ? json(*classifier_dropout) : json();
    out["initializer_range"] = initializer_range;
    out["layer_norm_eps"] = layer_norm_eps;
    out["problem_type"] = regression ? "regression" : "single_label_classification";
    out["dtype"] = "float32";
    for (const char* stale : {"torch_dtype", "num_labels", "auto_map"}) out.erase(stale);
    out["id2label"] = json::object();
    out["label2id"] = json::object();
    for (std::size_t i = 0; i < label_names.size(); ++i) {
        out["id2label"][std::to_string(i)] = label_names[i];
        out["label2id"][label_names[i]] = i;
    }
    return out;
}

BertConfig parse_bert_config(const std::string& text, const std::string& where) {
    BertConfig config;
    try {
        config.raw = json::parse(text);
    } catch (const json::exception& error) {
        user_error("{}: not valid JSON: {}", where, error.what());
    }
    if (!config.raw.is_object()) user_error("{}: expected a JSON object", where);
    const Reader reader(config.raw, where);
    check_model_type(config.raw, reader, where);
    reader.read("vocab_size", config.vocab_size);
    reader.read("hidden_size", config.hidden_size);
    reader.read("num_hidden_layers", config.num_hidden_layers);
    reader.read("num_attention_heads", config.num_attention_heads);
    reader.read("intermediate_size", config.intermediate_size);
    reader.read("max_position_embeddings", config.max_position_embeddings);
    reader.read("type_vocab_size", config.type_vocab_size);
    reader.read("hidden_act", config.hidden_act);
    reader.read("hidden_dropout_prob", config.hidden_dropout_prob);
    reader.read("attention_probs_dropout_prob", config.attention_probs_dropout_prob);
    reader.read("initializer_range", config.initializer_range);
    reader.read("layer_norm_eps", config.layer_norm_eps);
    if (reader.has("pad_token_id")) {
        reader.read("pad_token_id", config.pad_token_id);
    } else if (config.raw.contains("pad_token_id")) {
        config.pad_token_id = -1;
    }
    if (reader.has("classifier_dropout")) {
        double probability = 0.0;
        reader.read("classifier_dropout", probability);
        config.classifier_dropout = probability;
    }
    read_labels(config.raw, reader, where, config);
    config.check(where);
    return config;
}

BertConfig read_bert_config(const std::filesystem::path& folder) {
    const std::filesystem::path file = folder / "config.json";
    if (!std::filesystem::is_directory(folder)) {
        user_error(
            "{}: there is no such folder; --model_name_or_path takes a folder with config.json and model.safetensors",
            folder.string());
    }
    if (!std::filesystem::exists(file)) {
        user_error("{}: there is no config.json here; expected a Hugging Face model folder", folder.string());
    }
    return parse_bert_config(read_file(file), file.string());
}

}  // namespace strata::models
