// strata checkpoint diff A B: what differs between two checkpoints; exit code 1 where something does.
#include <cmath>
#include <cstdio>

#include "apps/strata/checkpoint_difference.h"
#include "apps/strata/commands.h"
#include "core/error.h"
#include "core/file.h"
#include "optim/text_table.h"

namespace strata::app {
namespace {

using nlohmann::json;

std::string changes_text(const char* title, const std::vector<Change>& changes) {
    if (changes.empty()) return "";
    std::string text = fmt::format("{}\n", title);
    for (const auto& change : changes) {
        text += fmt::format("  {}: {}, then {}\n", change.key, change.a.empty() ? "unset" : change.a,
                            change.b.empty() ? "unset" : change.b);
    }
    return text + "\n";
}

void add_rows(optim::TextTable& table, const DifferenceRow& row) {
    std::string name = row.name;
    for (const dist::StateKind kind : dist::state_kinds) {
        const auto& state = row.states[static_cast<std::size_t>(kind)];
        if (!state) continue;
        table.add_row({std::exchange(name, ""), std::string(dist::name_of(kind)),
                       optim::grouped_digits(state->elements), optim::grouped_digits(state->unequal),
                       fmt::format("{:.6g}", state->largest), fmt::format("{:.6g}", state->relative())});
    }
}

std::string table_text(const char* title, const std::vector<DifferenceRow>& rows, bool all) {
    using optim::Align;
    optim::TextTable table({{title, Align::left},
                            {"state", Align::left},
                            {"elements", Align::right},
                            {"unequal", Align::right},
                            {"largest", Align::right},
                            {"relative", Align::right}});
    bool empty = true;
    for (const auto& row : rows) {
        if (!all && row.equal()) continue;
        add_rows(table, row);
        empty = false;
    }
    return empty ? "" : table.text() + "\n";
}

json number_or_null(double value) {
    return std::isfinite(value) ? json(value) : json(nullptr);
}

json changes_json(const std::vector<Change>& changes) {
    json list = json::array();
    for (const auto& change : changes) list.push_back({{"key", change.key}, {"a", change.a}, {"b", change.b}});
    return list;
}

json rows_json(const std::vector<DifferenceRow>& rows) {
    json list = json::array();
    for (const auto& row : rows) {
        json object = {{"name", row.name}};
        for (const dist::StateKind kind : dist::state_kinds) {
            const auto& state = row.states[static_cast<std::size_t>(kind)];
            if (!state) continue;
            object[std::string(dist::name_of(kind))] = {{"elements", state->elements},
                                                        {"unequal", state->unequal},
                                                        {"largest", number_or_null(state->largest)},
                                                        {"relative", number_or_null(state->relative())}};
        }
        list.push_back(std::move(object));
    }
    return list;
}

CheckpointDifference compare(const Config& config) {
    if (config.checkpoints.size() != 2) user_error("strata checkpoint diff takes two checkpoints");
    try {
        return compare_checkpoints(config.checkpoints[0], config.checkpoints[1]);
    } catch (const SystemError& error) {
        // Exit code 1 would say that they differ.
        throw UserError(error.what());
    }
}

}  // namespace

std::string difference_text(const CheckpointDifference& difference) {
    return changes_text("configuration", difference.configuration) + changes_text("state", difference.state) +
           table_text("group", difference.groups, true) + table_text("parameter", difference.parameters, false);
}

json difference_json(const CheckpointDifference& difference) {
    return {{"equal", difference.equal()},
            {"configuration", changes_json(difference.configuration)},
            {"state", changes_json(difference.state)},
            {"groups", rows_json(difference.groups)},
            {"parameters", rows_json(difference.parameters)}};
}

int run_diff(const Config& config) {
    const CheckpointDifference difference = compare(config);
    const bool equal = difference.equal();
    if (!config.json.empty()) write_file_atomically(config.json, difference_json(difference).dump(2) + "\n");
    std::printf("%s%s\n", difference_text(difference).c_str(), equal ? "equal" : "different");
    return equal ? exit_done : exit_failed;
}

}  // namespace strata::app
