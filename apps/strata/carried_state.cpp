#include "apps/strata/carried_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "apps/strata/config_changes.h"

namespace strata::app {
namespace {

constexpr std::size_t line_width = 120;

/// Names, separated by commas, in lines of at most line_width.
std::string wrapped(const std::vector<std::string>& names, const std::string& indent) {
    std::string text;
    std::string line = indent;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const std::string word = names[i] + (i + 1 < names.size() ? "," : "");
        if (line.size() > indent.size() && line.size() + 1 + word.size() > line_width) {
            text += line + "\n";
            line = indent;
        }
        if (line.size() > indent.size()) line += " ";
        line += word;
    }
    return text + line + "\n";
}

/// Each reason once, in order of its first appearance, with the names it holds for.
std::string notes_text(const char* title, const char* things, const std::vector<dist::StateNote>& notes) {
    if (notes.empty()) return {};
    std::vector<std::pair<std::string, std::vector<std::string>>> by_reason;
    for (const dist::StateNote& note : notes) {
        const auto same = [&](const auto& entry) { return entry.first == note.reason; };
        const auto found = std::find_if(by_reason.begin(), by_reason.end(), same);
        if (found == by_reason.end())
            by_reason.push_back({note.reason, {note.name}});
        else
            found->second.push_back(note.name);
    }
    std::string text = fmt::format("{}:\n", title);
    for (const auto& [reason, names] : by_reason) {
        if (names.size() == 1)
            text += fmt::format("  {}: {}\n", names.front(), reason);
        else
            text += fmt::format("  {} {}: {}\n{}", names.size(), things, reason, wrapped(names, "    "));
    }
    return text;
}

/// Figures of groups that keep their names.
std::string figures_text(std::span<const dist::StoredGroup> saved, std::span<const dist::StateGroup> now) {
    constexpr std::pair<const char*, double dist::StateGroup::*> figures[]{
        {"multiplier", &dist::StateGroup::multiplier},
        {"weight decay", &dist::StateGroup::weight_decay},
    };
    std::string text;
    for (const dist::StateGroup& group : now) {
        const auto same = [&](const dist::StoredGroup& stored) { return stored.group.name == group.name; };
        const auto found = std::find_if(saved.begin(), saved.end(), same);
        if (found == saved.end()) continue;
        for (const auto& [name, figure] : figures) {
            if (found->group.*figure == group.*figure) continue;
            text += fmt::format("  {}: {} {:g}, was {:g}\n", group.name, name, group.*figure, found->group.*figure);
        }
    }
    return text.empty() ? text : "Groups that learn otherwise:\n" + text;
}

}  // namespace

std::string foreign_moments(optim::OptimizerKind saved, optim::OptimizerKind now) {
    if (optim::share_moments(saved, now)) return {};
    return fmt::format("the checkpoint's moments are {}'s, and {} cannot go on from them", optimizer_name(saved),
                       optimizer_name(now));
}

optim::OptimizerKind saved_optimizer(const std::string& effective_config) {
    const auto entries = config_entries(effective_config);
    const auto found = entries.find("optim");
    if (found == entries.end()) return optim::OptimizerKind::adamw;  // the default of old
    return optim::parse_optimizer_kind(found->second.substr(1, found->second.size() - 2));
}

std::string carried_text(const std::string& config_changes, std::span<const dist::StoredGroup> saved,
                         std::span<const dist::StateGroup> now, const dist::StateLoadReport& report) {
    std::string text;
    if (!config_changes.empty()) text = "Configured otherwise:" + config_changes + "\n";
    return text + figures_text(saved, now) + notes_text("Groups made of others", "groups", report.regrouped) +
           notes_text("Groups joined from groups with other step counts", "groups", report.mixed_steps) +
           notes_text("Started fresh", "parameters", report.started_fresh) +
           notes_text("In the checkpoint, but not used", "parameters", report.ignored);
}

}  // namespace strata::app
