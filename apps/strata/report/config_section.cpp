// The configurations of runs side by side.
#include <fmt/format.h>

#include <set>

#include "apps/strata/config_changes.h"
#include "apps/strata/options.h"
#include "apps/strata/report/table.h"
#include "apps/strata/report/tables.h"

namespace strata::app::report {
namespace {

using optim::svg::escaped;
using Entries = std::map<std::string, std::string>;

std::string value_of(const Entries& config, const std::string& key) {
    const auto found = config.find(key);
    return found == config.end() || found->second.empty() ? "" : found->second;
}

std::set<std::string> all_keys(const Runs& runs) {
    std::set<std::string> keys;
    for (const RunRecord& run : runs) {
        for (const auto& [key, value] : run.config) keys.insert(key);
    }
    return keys;
}

template <typename Keep>
Table table_of(const Runs& runs, const std::string& caption, Keep&& keep) {
    std::vector<Table::Column> columns{{"Key"}};
    for (const RunRecord& run : runs) columns.push_back({runs.size() == 1 ? "Value" : run.name});
    Table table(caption, std::move(columns));
    for (const std::string& key : all_keys(runs)) {
        if (!keep(key)) continue;
        std::vector<std::string> cells{"<code>" + escaped(key) + "</code>"};
        for (const RunRecord& run : runs) {
            const std::string value = value_of(run.config, key);
            cells.push_back(value.empty() ? "<span class=\"frozen\">unset</span>"
                                          : "<code>" + escaped(value) + "</code>");
        }
        table.add_row(cells);
    }
    return table;
}

}  // namespace

std::string config_tables(const Runs& runs) {
    const Table all = table_of(runs, "The whole configuration", [](const auto&) { return true; });
    if (all.empty()) return {};
    const Entries defaults = config_entries(to_toml(Config{}, command_train, true));
    const auto differs = [&](const std::string& key) {
        // Where a run lies and how it was started is no difference between runs.
        for (const char* place : {"output_dir", "overwrite_output_dir", "resume_from_checkpoint", "progress"}) {
            if (key == place) return false;
        }
        const std::string first = value_of(runs.size() == 1 ? defaults : runs.front().config, key);
        for (const RunRecord& run : runs) {
            if (value_of(run.config, key) != first) return true;
        }
        return false;
    };
    const bool alone = runs.size() == 1;
    const Table some = table_of(runs, alone ? "Keys that are not at their defaults" : "Keys that differ", differs);
    std::string out = some.empty() ? (alone ? "<p>Every key is at its default.</p>\n" : "<p>No key differs.</p>\n")
                                   : fmt::format("<p>{}</p>\n{}",
                                                 alone ? "What is not at its default." : "What differs.", some.html());
    return out + folded("The whole configuration", all.html());
}

}  // namespace strata::app::report
