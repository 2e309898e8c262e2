#include "data/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "data/tokenizer_json.h"
#include "data/vocabulary_file.h"

namespace strata::data {
namespace {

namespace fs = std::filesystem;

// Classes that build BERT's own pipeline, whatever tokenizer.json holds; "Fast" at the end makes no difference.
constexpr std::array<std::string_view, 13> bert_classes = {"BertTokenizer",
                                                           "DistilBertTokenizer",
                                                           "ElectraTokenizer",
                                                           "MobileBertTokenizer",
                                                           "ConvBertTokenizer",
                                                           "SqueezeBertTokenizer",
                                                           "RetriBertTokenizer",
                                                           "LayoutLMTokenizer",
                                                           "LxmertTokenizer",
                                                           "DPRReaderTokenizer",
                                                           "BertJapaneseTokenizer",
                                                           "DPRContextEncoderTokenizer",
                                                           "DPRQuestionEncoderTokenizer"};

std::optional<Json> read_json_if_there(const fs::path& path) {
    if (!fs::exists(path)) return std::nullopt;
    return read_json(path);
}

bool builds_bert_pipeline(const Json& tokenizer_config, const fs::path& folder) {
    std::string name = string_or(tokenizer_config, "tokenizer_class", "");
    if (name.empty()) {
        if (const auto model = read_json_if_there(folder / "config.json"))
            name = string_or(*model, "tokenizer_class", "");
    }
    if (name.empty()) return true;
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    return std::find(bert_classes.begin(), bert_classes.end(), name) != bert_classes.end();
}

bool bool_or(const Json& object, const char* key, bool fallback, const fs::path& path) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return fallback;
    if (!found->is_boolean()) user_error("{}: {} is {}; it must be true or false", path.string(), key, found->dump());
    return found->get<bool>();
}

std::optional<std::int64_t> length_limit(const Json& object) {
    constexpr double sentinel = 1e9;  // transformers writes int(1e30) where there is no limit
    const auto found = object.find("model_max_length");
    if (found == object.end() || !found->is_number()) return std::nullopt;
    const auto limit = found->get<double>();
    if (!(limit >= 1) || limit > sentinel) return std::nullopt;
    return static_cast<std::int64_t>(limit);
}

void read_settings(const Json& object, const fs::path& path, TokenizerConfig& config) {
    config.do_lower_case = bool_or(object, "do_lower_case", true, path);
    config.tokenize_chinese_chars = bool_or(object, "tokenize_chinese_chars", true, path);
    const auto strip = object.find("strip_accents");
    if (strip != object.end() && !strip->is_null()) config.strip_accents = bool_or(object, "strip_accents", true, path);
}

/// The added tokens in the order in which the library takes them up, each once.
class AddedTokenList {
  public:
    explicit AddedTokenList(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {}

    AddedToken* find(const std::string& content) {
        const auto found = std::find_if(tokens_.begin(), tokens_.end(),
                                        [&](const AddedToken& token) { return token.content == content; });
        return found == tokens_.end() ? nullptr : &*found;
    }
    void replace_or_append(AddedToken token) {
        if (token.content.empty()) return;
        if (AddedToken* known = find(token.content)) {
            *known = std::move(token);
        } else {
            tokens_.push_back(std::move(token));
        }
    }
    /// What is already there keeps its flags, but is special from now on.
    void append_special(AddedToken token) {
        if (AddedToken* known = find(token.content)) {
            known->special = true;
        } else {
            replace_or_append(std::move(token));
        }
    }
    std::vector<AddedToken> take() { return std::move(tokens_); }

  private:
    std::vector<AddedToken> tokens_;
};

void append_decoder(const Json& decoder, const fs::path& path, AddedTokenList& list) {
    std::vector<std::pair<long, AddedToken>> by_id;
    for (const auto& [key, value] : decoder.items()) {
        char* end = nullptr;
        const long id = std::strtol(key.c_str(), &end, 10);
        if (key.empty() || *end != '\0') {
            user_error("{}: '{}' in added_tokens_decoder is not an id", path.string(), key);
        }
        by_id.emplace_back(id, added_token_of(value, false, path));
    }
    std::stable_sort(by_id.begin(), by_id.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [id, token] : by_id) list.replace_or_append(std::move(token));
}

void append_list(const Json& object, const char* key, const fs::path& path, AddedTokenList& list) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return;
    for (const auto& value : *found) list.append_special(added_token_of(value, true, path));  // of a list or an object
}

/// added_tokens.json: an object from token to id.
void append_legacy(const Json& object, const fs::path& path, AddedTokenList& list) {
    std::vector<std::pair<std::int64_t, std::string>> by_id;
    for (const auto& [content, id] : object.items()) {
        if (!id.is_number_integer()) user_error("{}: the id of '{}' is not a whole number", path.string(), content);
        by_id.emplace_back(id.get<std::int64_t>(), content);
    }
    std::sort(by_id.begin(), by_id.end());
    for (const auto& [id, content] : by_id) {
        AddedToken token;
        token.content = content;
        token.normalized = true;
        list.replace_or_append(std::move(token));
    }
}

struct Role {
    std::string_view key;
    std::string TokenizerConfig::*token;  // null for the roles that BERT has no use for
    bool indispensable;
};

// In the order in which the library takes them up.
constexpr std::array<Role, 7> roles = {{{"bos_token", nullptr, false},
                                        {"eos_token", nullptr, false},
                                        {"unk_token", &TokenizerConfig::unk_token, true},
                                        {"sep_token", &TokenizerConfig::sep_token, true},
                                        {"pad_token", &TokenizerConfig::pad_token, false},
                                        {"cls_token", &TokenizerConfig::cls_token, true},
                                        {"mask_token", &TokenizerConfig::mask_token, false}}};

/// The token of a role: the file's, or the one it has without a file.
void append_role(const Role& role, const Json& settings, const fs::path& path, TokenizerConfig& config,
                 AddedTokenList& list) {
    const auto found = settings.find(role.key);
    const bool absent = found == settings.end();
    std::string* token = role.token == nullptr ? nullptr : &(config.*role.token);
    if (!absent && !found->is_null()) {
        AddedToken added = added_token_of(*found, true, path);
        // Indispensable ones must be there; the library would number them after the vocabulary, where no model has a
        // row.
        added.implied = token != nullptr && (role.indispensable || added.content == *token);
        if (token != nullptr) *token = added.content;
        list.append_special(std::move(added));
    } else if (token != nullptr) {
        if (!absent && !role.indispensable) token->clear();  // null: the model has none
        list.append_special(TokenizerConfig::implied(*token));
    }
}

void append_special_tokens(const Json& settings, const fs::path& path, TokenizerConfig& config, AddedTokenList& list) {
    for (const auto& role : roles) append_role(role, settings, path, config, list);
    for (const auto& [key, value] : settings.items()) {
        const std::string_view name = key;
        const bool known = std::any_of(roles.begin(), roles.end(), [&](const Role& role) { return role.key == name; });
        if (!known && name.ends_with("_token") && value.is_string()) {
            list.append_special(added_token_of(value, true, path));
        }
    }
    append_list(settings, "additional_special_tokens", path, list);
    append_list(settings, "extra_special_tokens", path, list);
}

}  // namespace

TokenizerFiles read_tokenizer_files(const fs::path& folder) {
    const fs::path config_path = folder / "tokenizer_config.json";
    const fs::path json_path = folder / "tokenizer.json";
    Json settings = read_json_if_there(config_path).value_or(Json::object());
    TokenizerFiles files;
    TokenizerConfig& config = files.config;
    config.added_tokens.clear();
    Json json;  // null where there is no tokenizer.json
    if (fs::exists(json_path)) {
        files.source = json_path;
        auto read = read_tokenizer_json(json_path);
        files.tokens = std::move(read.tokens);
        json = std::move(read.rest);
    } else if (files.source = folder / "vocab.txt"; fs::exists(files.source)) {
        files.tokens = read_vocabulary_file(files.source);
    } else {
        user_error(
            "{}: holds neither vocab.txt nor tokenizer.json; name the folder of a BERT model with its vocabulary",
            folder.string());
    }
    const auto from_json = added_tokens_of_json(json, json_path);

    AddedTokenList list({});
    if (!json.is_null() && !builds_bert_pipeline(settings, folder)) {
        read_pipeline(json, json_path, config);
        list = AddedTokenList(from_json);
    } else {
        read_settings(settings, config_path, config);
    }
    if (settings.contains("added_tokens_decoder")) {
        append_decoder(settings["added_tokens_decoder"], config_path, list);
    } else {
        if (const auto map = read_json_if_there(folder / "special_tokens_map.json")) settings.update(*map);
        const fs::path legacy = folder / "added_tokens.json";
        if (const auto added = read_json_if_there(legacy)) append_legacy(*added, legacy, list);
        for (const auto& token : from_json) list.replace_or_append(token);
    }
    append_special_tokens(settings, config_path, config, list);
    config.added_tokens = list.take();
    config.split_special_tokens = bool_or(settings, "split_special_tokens", false, config_path);
    config.truncate_left = string_or(settings, "truncation_side", "right") == "left";
    config.model_max_length = length_limit(settings);
    return files;
}

}  // namespace strata::data
