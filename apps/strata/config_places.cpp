#include "apps/strata/config_places.h"

#include <algorithm>
#include <cctype>
#include <regex>

namespace strata::app {
namespace {

/// Where `word` stands in `text` as a whole word; npos where it does not.
std::size_t word_position(const std::string& text, const std::string& word) {
    const auto part_of_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        const bool begins = at == 0 || !part_of_word(text[at - 1]);
        if (begins && (end == text.size() || !part_of_word(text[end]))) return at;
    }
    return std::string::npos;
}

/// The first key of the places that the message names outside quotes; the end of the map where it names none.
auto first_key(const Places& places, const std::string& message) {
    const std::regex quoted(R"(\B'[^']*'\B|"[^"]*")");  // but no apostrophe
    const std::string own_words = std::regex_replace(message, quoted, "''");
    auto best = places.lines.end();
    std::size_t best_position = std::string::npos;
    for (auto each = places.lines.begin(); each != places.lines.end(); ++each) {
        const std::size_t position = word_position(own_words, each->first);
        if (position >= best_position) continue;
        best = each;
        best_position = position;
    }
    return best;
}

std::string table_place(const Places& places, const std::string& message) {
    if (places.file.empty()) return "";
    const auto key = first_key(places, message);
    const std::int64_t line = key == places.lines.end() ? places.line : key->second;
    return fmt::format("{}:{}: {}: ", places.file, line, places.table);
}

/// Whether the message is about the stage or group of this name: optim begins with it.
bool is_about(const std::string& message, const char* one, const char* several, const std::string& name) {
    return message.starts_with(fmt::format("{} '{}'", one, name)) ||
           message.starts_with(fmt::format("Two {} are named '{}'", several, name));
}

}  // namespace

std::string place_of(const Config& config, const std::string& message) {
    if (message.starts_with(config.places.file + ":") && !config.places.file.empty()) return "";
    for (std::size_t s = 0; s < config.stage_tables.size(); ++s) {
        const StageTable& stage = config.stage_tables[s];
        const std::string name = stage.name.empty() ? fmt::format("stage_{}", s + 1) : stage.name;
        if (is_about(message, "Stage", "stages", name)) return table_place(stage.places, message);
    }
    for (const GroupTable& group : config.group_tables) {
        const bool claims =
            message.starts_with("Two groups claim") && message.find("'" + group.name + "' by") != std::string::npos;
        if (claims || is_about(message, "Group", "groups", group.name)) return table_place(group.places, message);
    }
    if (config.gradual && message.starts_with("Stage 'gradual_")) return table_place(config.gradual->places, message);
    if (config.fine_tune && (message.starts_with("fine_tune") || message.starts_with("Stage '"))) {
        return table_place(config.fine_tune->places, message);
    }
    const auto key = first_key(config.places, message);
    return key == config.places.lines.end() ? "" : fmt::format("{}:{}: ", config.places.file, key->second);
}

}  // namespace strata::app
