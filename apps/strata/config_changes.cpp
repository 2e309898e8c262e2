#include "apps/strata/config_changes.h"

#include <sstream>

#include "apps/strata/options.h"
#include "core/error.h"

namespace strata::app {
namespace {

bool is_free_to_change(const std::string& key) {
    const Option* const option = find_option(key);
    return option != nullptr && option->changes_freely;
}

}  // namespace

std::map<std::string, std::string> config_entries(const std::string& toml_text) {
    std::map<std::string, std::string> found;
    std::map<std::string, int> tables;
    std::string prefix;
    std::istringstream lines(toml_text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("[")) {
            prefix = line == "[groups]" ? "" : line + ": ";
            if (line.starts_with("[[")) prefix = fmt::format("{} {}: ", line, ++tables[line]);
            // The table itself counts: an empty [gradual] is not the same as none.
            if (!prefix.empty()) found[prefix.substr(0, prefix.size() - 2)] = "given";
        }
        const auto equals = line.find(" = ");
        if (equals != std::string::npos) found[prefix + line.substr(0, equals)] = line.substr(equals + 3);
    }
    return found;
}

std::map<std::string, std::string> saved_entries(const std::string& toml_text) {
    Config of_old;
    of_old.bf16 = "false";
    std::map<std::string, std::string> entries = config_entries(to_toml(of_old, command_train, true));
    for (const auto& [key, value] : config_entries(toml_text)) entries[key] = value;
    return entries;
}

std::vector<Change> compare_configs(const std::string& a, const std::string& b) {
    std::map<std::string, std::string> before = saved_entries(a);
    std::map<std::string, std::string> after = saved_entries(b);
    for (const auto& [key, value] : before) after.try_emplace(key);
    std::vector<Change> changes;
    for (const auto& [key, value] : after) {
        if (!is_free_to_change(key) && before[key] != value) changes.push_back({key, before[key], value});
    }
    return changes;
}

std::string config_changes(const std::string& saved, const Config& config) {
    std::string text;
    for (const auto& [key, before, now] : compare_configs(saved, to_toml(config, command_train, true))) {
        text += fmt::format("\n  {}: {} in the checkpoint, {} now", key, before.empty() ? "unset" : before,
                            now.empty() ? "unset" : now);
    }
    return text;
}

}  // namespace strata::app
