// A checkpoint in words.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "dist/checkpoint.h"
#include "dist/checksums.h"
#include "optim/text_table.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;
using optim::Align;
using optim::grouped_digits;
using optim::TextTable;

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
    TextTable table({{"group", Align::left},
                     {"parameters", Align::right},
                     {"elements", Align::right},
                     {"step", Align::right},
                     {"multiplier", Align::right},
                     {"lr", Align::right},
                     {"decay", Align::right},
                     {"frozen", Align::left},
                     {"state", Align::left}});
    for (const StoredGroup& stored : groups) {
        const StateGroup& group = stored.group;
        table.add_row({group.name, std::to_string(group.members.size()), grouped_digits(group.elements),
                       std::to_string(group.step), fmt::format("{:.6g}", group.multiplier),
                       fmt::format("{:.6g}", group.learning_rate), fmt::format("{:.4g}", group.weight_decay),
                       group.frozen ? "yes" : "no", state_sets(stored)});
    }
    return table.text();
}

std::string files_table(const fs::path& folder) {
    std::map<std::string, std::uintmax_t> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.is_regular_file()) files[entry.path().filename().string()] = entry.file_size();
    }
    TextTable table({{"file", Align::left}, {"size", Align::right}});
    for (const auto& [name, bytes] : files) table.add_row({name, optim::byte_text(static_cast<std::int64_t>(bytes))});
    return table.text();
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
    line("parameters",
         fmt::format("{} in {} groups, {} elements", parameters, state.groups().size(), grouped_digits(elements)));
    line("plan hash", hash_text(header.plan_hash));
    line("update hash", hash_text(header.update_hash));
    line("model", header.model_fingerprint);
    text += fmt::format("\n{}", groups_table(state.groups()));
    text += fmt::format("\n{}", files_table(folder));
    text += fmt::format("\nconfiguration\n{}", indented(header.effective_config));
    text += fmt::format("\nprovenance\n{}", indented(header.provenance));
    return text;
}

}  // namespace strata::dist
