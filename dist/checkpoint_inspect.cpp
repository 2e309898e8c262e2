// A checkpoint in words.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "dist/checkpoint.h"
#include "dist/checksums.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;

std::string state_sets(const StoredGroup& stored) {
    std::string sets;
    for (const StateKind kind : state_kinds) {
        if (!stored.present[static_cast<std::size_t>(kind)]) continue;
        if (!sets.empty()) sets += ' ';
        sets += name_of(kind);
    }
    return sets.empty() ? "none" : sets;
}

std::string groups_table(const std::vector<StoredGroup>& groups) {
    std::size_t width = 5;
    for (const StoredGroup& stored : groups) width = std::max(width, stored.group.name.size());
    std::string text = fmt::format("{:<{}}  {:>10}  {:>14}  {:>8}  {:>12}  {:>12}  {:>8}  {:<6}  state\n", "group",
                                   width, "parameters", "elements", "step", "multiplier", "lr", "decay", "frozen");
    for (const StoredGroup& stored : groups) {
        const StateGroup& group = stored.group;
        text += fmt::format("{:<{}}  {:>10}  {:>14}  {:>8}  {:>12.6g}  {:>12.6g}  {:>8.4g}  {:<6}  {}\n", group.name,
                            width, group.members.size(), group.elements, group.step, group.multiplier,
                            group.learning_rate, group.weight_decay, group.frozen ? "yes" : "no", state_sets(stored));
    }
    return text;
}

std::string files_table(const fs::path& folder) {
    std::vector<std::pair<std::string, std::uintmax_t>> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.is_regular_file()) files.emplace_back(entry.path().filename().string(), entry.file_size());
    }
    std::sort(files.begin(), files.end());
    std::string text;
    for (const auto& [name, bytes] : files) text += fmt::format("  {:<28} {:>14}\n", name, bytes);
    return text;
}

/// Each line of `text` moved in by two spaces.
std::string indented(const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        out += fmt::format("  {}\n", std::string_view(text).substr(at, end - at));
        at = end + 1;
    }
    return out;
}

}  // namespace

std::string inspect_checkpoint(const fs::path& folder) {
    const StateFile state = open_checkpoint_state(folder);
    const TrainHeader& header = state.header();
    std::int64_t elements = 0;
    std::size_t parameters = 0;
    for (const StoredGroup& stored : state.groups()) {
        elements += stored.group.elements;
        parameters += stored.group.members.size();
    }
    std::string text;
    const auto line = [&](const char* name, const std::string& value) {
        text += fmt::format("{:<18} {}\n", name, value);
    };
    line("folder", folder.string());
    line("step", std::to_string(header.step));
    line("epoch", fmt::format("{:.4f}", header.epoch));
    line("stage", header.stage);
    line("world size", std::to_string(header.world_size));
    line("parameters", fmt::format("{} in {} groups, {} elements", parameters, state.groups().size(), elements));
    line("plan hash", hash_text(header.plan_hash));
    line("update hash", hash_text(header.update_hash));
    line("model", header.model_fingerprint);
    text += fmt::format("\n{}", groups_table(state.groups()));
    text += fmt::format("\nfiles (bytes)\n{}", files_table(folder));
    text += fmt::format("\nconfiguration\n{}", indented(header.effective_config));
    text += fmt::format("\nprovenance\n{}", indented(header.provenance));
    return text;
}

}  // namespace strata::dist
