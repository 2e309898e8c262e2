#include "models/hf_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>

#include "core/error.h"
#include "models/weight_files.h"

namespace strata::models {
namespace {

namespace fs = std::filesystem;

bool starts_with(const std::string& name, const char* prefix) {
    return name.rfind(prefix, 0) == 0;
}

/// `LayerNorm.gamma` and `.beta`, as TensorFlow's checkpoints had them, in today's words.
std::string modern_name(std::string name) {
    if (starts_with(name, "module.")) name.erase(0, std::string("module.").size());
    for (const auto& [old_end, new_end] :
         {std::pair{"LayerNorm.gamma", "LayerNorm.weight"}, {"LayerNorm.beta", "LayerNorm.bias"}}) {
        if (name.ends_with(old_end))
            name.replace(name.size() - std::string(old_end).size(), std::string::npos, new_end);
    }
    return name;
}

bool is_head(const std::string& name) {
    return starts_with(name, "classifier.");
}

/// What a pretrained encoder may lack; without anything else it would train from noise, so the rest is required.
bool may_be_new(const std::string& name) {
    return is_head(name) || starts_with(name, "bert.pooler.");
}

struct Stored {
    std::string name;  // as the file has it
    const SafetensorsFile* file;
    const TensorInfo& info() const { return file->tensors().at(name); }
};

/// The stored tensor for each of the model's names; the others go to `ignored`.
std::map<std::string, Stored> match_names(const WeightFiles& weights,
                                          const std::map<std::string, torch::Tensor>& parameters,
                                          std::vector<std::string>& ignored) {
    std::map<std::string, Stored> matched;
    for (const auto& [stored_name, file] : weights.tensors()) {
        std::string name = modern_name(stored_name);
        if (!parameters.contains(name)) name.insert(0, "bert.");
        if (!parameters.contains(name)) {
            ignored.push_back(stored_name);
            continue;
        }
        const auto [at, is_new] = matched.emplace(name, Stored{stored_name, file});
        if (!is_new) {
            user_error("{}: '{}' and '{}' are both {}; delete one", file->path().string(), at->second.name, stored_name,
                       name);
        }
    }
    return matched;
}

/// A head for another number of labels: K against M outputs, all else alike.
bool is_other_head(const std::string& name, const TensorInfo& stored, const torch::Tensor& parameter) {
    const auto wanted = parameter.sizes().vec();
    return is_head(name) && stored.shape.size() == wanted.size() && stored.shape.front() != wanted.front() &&
           std::equal(stored.shape.begin() + 1, stored.shape.end(), wanted.begin() + 1);
}

void fill(torch::Tensor& parameter, const std::string& name, const Stored& stored) {
    const TensorInfo& info = stored.info();
    if (!torch::isFloatingType(info.dtype)) {
        user_error("{}: tensor '{}' has type {}, expected floating point", stored.file->path().string(), stored.name,
                   torch::toString(info.dtype));
    }
    if (parameter.sizes() != torch::IntArrayRef(info.shape)) {
        user_error("{}: tensor '{}' has shape [{}] but config.json makes {} [{}]; the files do not belong together",
                   stored.file->path().string(), stored.name, fmt::join(info.shape, ", "), name,
                   fmt::join(parameter.sizes().vec(), ", "));
    }
    stored.file->load_into(stored.name, parameter);
}

/// As transformers does: norms scale by 1, biases are 0, matrices are drawn.
void initialise(torch::Tensor& parameter, const std::string& name, const BertConfig& config, std::uint64_t seed) {
    if (name.ends_with("LayerNorm.weight")) {
        parameter.fill_(1.0);
    } else if (parameter.dim() == 1) {
        parameter.zero_();
    } else {
        parameter.copy_(keyed_normal(parameter.sizes().vec(), config.initializer_range, seed, name));
    }
}

void apply_labels(BertConfig& config, const LoadOptions& options, const fs::path& folder) {
    if (options.labels) {
        config.set_labels(options.labels->names, options.labels->regression);
        return;
    }
    if (config.raw.value("problem_type", nlohmann::json()) == "multi_label_classification") {
        user_error(
            "{}/config.json: problem_type is multi_label_classification; strata supports single_label_classification "
            "and "
            "regression",
            folder.string());
    }
}

BertConfig with_options(BertConfig config, const LoadOptions& options, const fs::path& folder) {
    apply_labels(config, options, folder);
    config.hidden_dropout_prob = options.hidden_dropout_prob.value_or(config.hidden_dropout_prob);
    config.attention_probs_dropout_prob =
        options.attention_probs_dropout_prob.value_or(config.attention_probs_dropout_prob);
    if (options.classifier_dropout) config.classifier_dropout = options.classifier_dropout;
    config.check((folder / "config.json").string());
    return config;
}

/// A head of the same size, trained for the same labels in another order: loaded, it would have to unlearn its classes.
bool is_reordered(const std::vector<std::string>& theirs, const std::vector<std::string>& ours) {
    return theirs != ours && std::is_permutation(theirs.begin(), theirs.end(), ours.begin(), ours.end());
}

/// Why the stored head cannot serve the labels at hand; empty when it can, or when there is none.
std::string head_trouble(const std::map<std::string, Stored>& matched,
                         const std::map<std::string, torch::Tensor>& parameters, const BertConfig& folder_config,
                         const BertConfig& config) {
    for (const auto& [name, stored] : matched) {
        if (is_other_head(name, stored.info(), parameters.at(name))) {
            return fmt::format("has {} labels but {} are wanted", stored.info().shape.front(), config.num_labels());
        }
        if (is_head(name) && is_reordered(folder_config.label_names, config.label_names)) {
            return fmt::format("has its labels in the order {} but the data's are in the order {}",
                               fmt::join(folder_config.label_names, ", "), fmt::join(config.label_names, ", "));
        }
    }
    return "";
}

/// Removes a head that does not fit from what will be loaded, or refuses it. Weight and bias go together.
void settle_head(std::map<std::string, Stored>& matched, const std::string& trouble, bool replace,
                 const fs::path& folder, LoadReport& report) {
    if (trouble.empty()) return;
    if (!replace) {
        user_error(
            "{}: the folder's classification head {}; pass --ignore_mismatched_sizes true to replace it with a new "
            "head",
            folder.string(), trouble);
    }
    for (const char* name : {"classifier.bias", "classifier.weight"}) {
        if (const auto found = matched.find(name); found != matched.end()) {
            report.ignored.push_back(found->second.name);
            matched.erase(found);
        }
    }
}

void require_encoder(const std::map<std::string, Stored>& matched, const NamedTensors& parameters,
                     const fs::path& folder) {
    std::vector<std::string> missing;
    for (const auto& [name, parameter] : parameters) {
        if (!matched.contains(name) && !may_be_new(name)) missing.push_back(name);
    }
    if (missing.empty()) return;
    const std::size_t count = missing.size();
    missing.resize(std::min<std::size_t>(count, 5));
    user_error("{}: the weights lack {} of the encoder's tensors: {}{}; is config.json of another model?",
               folder.string(), count, fmt::join(missing, ", "), count > 5 ? ", ..." : "");
}

}  // namespace

std::string LoadReport::summary() const {
    const auto listed = [](const std::vector<std::string>& names) {
        return names.empty() ? std::string() : fmt::format(" ({})", fmt::join(names, ", "));
    };
    return fmt::format("loaded {} tensors; newly initialised {}{}; ignored {}{}", loaded.size(), initialised.size(),
                       listed(initialised), ignored.size(), listed(ignored));
}

LoadedModel load_model(const fs::path& folder, const LoadOptions& options) {
    const BertConfig folder_config = read_bert_config(folder);
    LoadedModel result{nullptr, with_options(folder_config, options, folder), {}};
    const BertConfig& config = result.config;
    const WeightFiles weights(folder);
    // Names and shapes are compared before any memory is taken for a model that may not fit.
    const BertForSequenceClassification outline(config, torch::kMeta);
    std::map<std::string, torch::Tensor> shapes;
    for (const auto& [name, parameter] : outline.named_parameter_list()) shapes[name] = parameter;
    auto matched = match_names(weights, shapes, result.report.ignored);
    require_encoder(matched, outline.named_parameter_list(), folder);
    settle_head(matched, head_trouble(matched, shapes, folder_config, config), options.ignore_mismatched_sizes, folder,
                result.report);

    result.model = std::make_shared<BertForSequenceClassification>(config);
    const torch::NoGradGuard no_grad;
    for (auto& [name, parameter] : result.model->named_parameter_list()) {
        torch::Tensor target = parameter;
        if (const auto found = matched.find(name); found != matched.end()) {
            fill(target, name, found->second);
            result.report.loaded.push_back(name);
        } else {
            initialise(target, name, config, options.seed);
            result.report.initialised.push_back(name);
        }
    }
    return result;
}

LoadedModel draw_model(const fs::path& folder, const LoadOptions& options) {
    LoadedModel result{nullptr, with_options(read_bert_config(folder), options, folder), {}};
    result.model = std::make_shared<BertForSequenceClassification>(result.config);
    const torch::NoGradGuard no_grad;
    for (auto& [name, parameter] : result.model->named_parameter_list()) {
        initialise(parameter, name, result.config, options.seed);
        result.report.initialised.push_back(name);
    }
    return result;
}

std::vector<std::pair<std::string, std::vector<std::int64_t>>> parameter_shapes(const BertConfig& config) {
    const BertForSequenceClassification outline(config, torch::kMeta);
    std::vector<std::pair<std::string, std::vector<std::int64_t>>> shapes;
    for (const auto& [name, parameter] : outline.named_parameter_list())
        shapes.emplace_back(name, parameter.sizes().vec());
    return shapes;
}

void check_vocabulary(const BertConfig& config, std::int64_t vocabulary_entries, const fs::path& vocabulary_file) {
    if (vocabulary_entries <= config.vocab_size) return;
    user_error(
        "{}: the vocabulary has {} entries but the model's embedding table has {} rows (vocab_size); they do not "
        "belong "
        "together",
        vocabulary_file.string(), vocabulary_entries, config.vocab_size);
}

}  // namespace strata::models
