#include "data/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "data/vocabulary_file.h"

namespace strata::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* remedy =
    "use a folder with BERT's own tokenizer, or one with vocab.txt instead of tokenizer.json";

const Json& member(const Json& object, const char* key) {
    static const Json null;
    if (!object.is_object()) return null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
}

bool flag(const Json& object, const char* key, bool fallback) {
    const Json& value = member(object, key);
    return value.is_boolean() ? value.get<bool>() : fallback;
}

Json parse_object(const fs::path& path, const Json::parser_callback_t& callback = nullptr) {
    const std::string content = read_file(path);
    try {
        Json json = Json::parse(content, callback);
        if (!json.is_object()) user_error("{}:1: must hold a JSON object", path.string());
        return json;
    } catch (const nlohmann::detail::parse_error& error) {
        const auto end =
            std::min(std::max<std::size_t>(error.byte, 1) - 1, content.size());  // before the last byte read
        const auto line = 1 + std::count(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(end), '\n');
        user_error("{}:{}: is not valid JSON ({}); take the file anew from the model's origin", path.string(), line,
                   error.what());
    }
}

void read_normalizer(const Json& normalizer, const fs::path& path, TokenizerConfig& config) {
    if (normalizer.is_null()) {
        config.clean_text = config.do_lower_case = config.tokenize_chinese_chars = false;
        config.strip_accents = false;
        return;
    }
    const std::string type = string_or(normalizer, "type", "");
    if (type != "BertNormalizer") {
        user_error("{}: the normalizer is '{}'; only BertNormalizer is supported: {}", path.string(), type, remedy);
    }
    config.clean_text = flag(normalizer, "clean_text", true);
    config.tokenize_chinese_chars = flag(normalizer, "handle_chinese_chars", true);
    config.do_lower_case = flag(normalizer, "lowercase", true);
    const Json& strip = member(normalizer, "strip_accents");
    if (strip.is_boolean()) config.strip_accents = strip.get<bool>();
}

/// The name of a template's special token of this type; empty for anything else.
std::string special_of(const Json& piece, int type) {
    const Json& special = member(piece, "SpecialToken");
    return member(special, "type_id") == type ? string_or(special, "id", "") : "";
}

bool is_sequence(const Json& piece, const char* name, int type) {
    const Json& sequence = member(piece, "Sequence");
    return string_or(sequence, "id", "") == name && member(sequence, "type_id") == type;
}

/// [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with the second part of type 1: all that encode() writes.
bool read_template(const Json& processor, TokenizerConfig& config) {
    const Json& single = member(processor, "single");
    const Json& pair = member(processor, "pair");
    if (single.size() != 3 || pair.size() != 5 || !single.is_array() || !pair.is_array()) return false;
    const std::string cls = special_of(single[0], 0);
    const std::string sep = special_of(single[2], 0);
    if (cls.empty() || sep.empty() || !is_sequence(single[1], "A", 0)) return false;
    const bool same = special_of(pair[0], 0) == cls && is_sequence(pair[1], "A", 0) && special_of(pair[2], 0) == sep &&
                      is_sequence(pair[3], "B", 1) && special_of(pair[4], 1) == sep;
    config.cls_token = cls;
    config.sep_token = sep;
    return same;
}

void read_processor(const Json& processor, const fs::path& path, TokenizerConfig& config) {
    const std::string type = string_or(processor, "type", "none");
    if (type == "BertProcessing") {  // {"sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
        const Json& sep = member(processor, "sep");
        const Json& cls = member(processor, "cls");
        if (sep.is_array() && sep.size() == 2 && sep[0].is_string()) config.sep_token = sep[0].get<std::string>();
        if (cls.is_array() && cls.size() == 2 && cls[0].is_string()) config.cls_token = cls[0].get<std::string>();
        return;
    }
    if (type == "TemplateProcessing" && read_template(processor, config)) return;
    user_error("{}: the post_processor ({}) does not write [CLS] A [SEP] B [SEP] as BERT's does: {}", path.string(),
               type, remedy);
}

}  // namespace

Json read_json(const fs::path& path) {
    return parse_object(path);
}

std::string string_or(const Json& object, const char* key, const std::string& fallback) {
    const Json& value = member(object, key);
    return value.is_string() ? value.get<std::string>() : fallback;
}

AddedToken added_token_of(const Json& value, bool special, const fs::path& path) {
    AddedToken token;
    token.special = special;
    if (value.is_string()) {
        token.content = value.get<std::string>();
        token.normalized = !special;
        return token;
    }
    if (!member(value, "content").is_string()) {
        user_error("{}: {} is not a token; a token is a string or an object with \"content\"", path.string(),
                   value.dump());
    }
    token.content = value["content"].get<std::string>();
    token.special = flag(value, "special", special);
    token.normalized = flag(value, "normalized", !token.special);
    token.single_word = flag(value, "single_word", false);
    token.strip_left = flag(value, "lstrip", false);
    token.strip_right = flag(value, "rstrip", false);
    return token;
}

TokenizerJson read_tokenizer_json(const fs::path& path) {
    // The vocabulary's entries are taken as they are parsed: as JSON values they would cost more than all the rest.
    TokensById by_id(path);
    std::string outer;
    std::string inner;
    std::optional<std::string> token;
    const auto take_entries = [&](int depth, Json::parse_event_t event, Json& parsed) {
        if (event == Json::parse_event_t::key) {
            if (depth == 1) outer = parsed.get<std::string>();
            if (depth == 2) inner = parsed.get<std::string>();
            if (depth != 3 || outer != "model" || inner != "vocab") return true;
            token = parsed.get<std::string>();
            return false;  // neither it nor its value is kept
        }
        if (!token) return true;
        by_id.add(*token, parsed);  // refuses the beginning of a list or an object too
        token.reset();
        return true;
    };
    Json json = parse_object(path, take_entries);
    auto& model = json["model"];
    const bool typed = model.is_object() && model.contains("type");
    const std::string type = typed ? model["type"].dump() : "\"WordPiece\"";  // old files name none
    if (type != "\"WordPiece\"" || !model.contains("vocab")) {
        user_error("{}: the tokenizer's model is {}; only a WordPiece with a vocabulary is supported: {}",
                   path.string(), type, remedy);
    }
    const Json vocab = std::move(model["vocab"]);
    model.erase("vocab");
    if (vocab.is_array()) return {tokens_of_list(vocab, path), json};
    if (!vocab.is_object()) user_error("{}: model.vocab must be an object from token to id", path.string());
    return {by_id.take(), json};
}

std::vector<AddedToken> added_tokens_of_json(const Json& tokenizer, const fs::path& path) {
    std::vector<AddedToken> tokens;
    const Json& list = member(tokenizer, "added_tokens");
    if (!list.is_array()) return tokens;
    for (const auto& value : list) tokens.push_back(added_token_of(value, false, path));
    return tokens;
}

void read_pipeline(const Json& tokenizer, const fs::path& path, TokenizerConfig& config) {
    const Json& model = member(tokenizer, "model");
    config.unk_token = string_or(model, "unk_token", config.unk_token);
    config.continuing_prefix = string_or(model, "continuing_subword_prefix", config.continuing_prefix);
    const Json& longest = member(model, "max_input_chars_per_word");
    if (longest.is_number_unsigned()) config.max_input_chars_per_word = longest.get<std::int64_t>();
    read_normalizer(member(tokenizer, "normalizer"), path, config);
    const std::string splitter = string_or(member(tokenizer, "pre_tokenizer"), "type", "none");
    if (splitter != "BertPreTokenizer") {
        user_error("{}: the pre_tokenizer is '{}'; only BertPreTokenizer is supported: {}", path.string(), splitter,
                   remedy);
    }
    read_processor(member(tokenizer, "post_processor"), path, config);
}

}  // namespace strata::data
