#include "apps/strata/config_tables.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>

#include "apps/strata/schedule_keys.h"
#include "apps/strata/value.h"
#include "core/error.h"
#include "core/nearest.h"
#include "optim/plan.h"

namespace strata::app {
namespace {

template <typename S>
struct TableKey {
    std::string name;
    Slot<S> slot;
    std::string hint;  ///< what the value is
    std::string help;
    std::function<void(const S&)> check = {};  ///< throws UserError, without the place, for a value that makes no sense
};

void check_at_least_zero(double value) {
    if (!(value >= 0.0)) user_error("it is {}, but must be 0 or more", value);
}

const std::vector<TableKey<GroupTable>>& keys_of(const GroupTable&) {
    using G = GroupTable;
    static const std::vector<TableKey<G>> keys = {
        {"name", &G::name, "TEXT", "letters, digits, '_', '-' and '.'",
         [](const G& g) { optim::check_name(g.name, "Group"); }},
        {"match", &G::match, "[TEXT, …]", "patterns of its parameters; without, all that lie under its name"},
        {"multiplier", &G::multiplier, "NUMBER", "its rate over learning_rate; 0 freezes; default 1",
         [](const G& g) { check_at_least_zero(*g.multiplier); }},
        {"weight_decay", &G::weight_decay, "NUMBER", "instead of the run's"},
        {"adam_beta1", &G::adam_beta1, "NUMBER", "instead of the run's"},
        {"adam_beta2", &G::adam_beta2, "NUMBER", "instead of the run's"},
        {"adam_epsilon", &G::adam_epsilon, "NUMBER", "instead of the run's"},
    };
    return keys;
}

std::vector<TableKey<StageTable>> stage_keys() {
    using S = StageTable;
    std::vector<TableKey<S>> keys = {
        {"name", &S::name, "TEXT", "default stage_1, stage_2, …",
         [](const S& s) { optim::check_name(s.name, "Stage"); }},
        {"length", &S::length, "TEXT", "epochs '1e', updates '500u', share '10%'; the last may take the rest",
         [](const S& s) { optim::parse_length(s.length); }},
        {"freeze_to", &S::freeze_to, "INTEGER", "freezes so many groups from the input; -2 trains the last two",
         [](const S& s) {
             if (std::abs(*s.freeze_to) > std::numeric_limits<int>::max())
                 user_error("{} is no number of groups", *s.freeze_to);
         }},
        {"groups", &S::groups, "[TEXT, …]", "or: the groups that train, names or patterns"},
        {"learning_rate", &S::learning_rate, "NUMBER", "instead of the run's",
         [](const S& s) { check_at_least_zero(*s.learning_rate); }},
        {"slice", &S::slice, "[NUMBER, NUMBER]",
         "or: rates of the first and the last group; one number: a tenth for all but the last",
         [](const S& s) {
             if (s.slice.empty() || s.slice.size() > 2) {
                 user_error("it has {} numbers; give the rates of the first and the last group, or the last's alone",
                            s.slice.size());
             }
         }},
        {"schedule", &S::schedule, "TEXT",
         "as lr_scheduler_type; default the run's, over the stage's own updates, warm-up included",
         [](const S& s) { optim::parse_schedule_kind(s.schedule); }},
        {"warmup_steps", &S::warmup_steps, "NUMBER", "instead of the run's; below 1: a share of the stage",
         [](const S& s) { check_at_least_zero(*s.warmup_steps); }},
        {"warmup_ratio", &S::warmup_ratio, "NUMBER", "or: share of the stage that warms up",
         [](const S& s) {
             if (!(*s.warmup_ratio >= 0.0 && *s.warmup_ratio <= 1.0))
                 user_error("it is {}, but is a share, from 0 to 1", *s.warmup_ratio);
         }},
        {"on_unfreeze", &S::on_unfreeze, "keep|reset|reset-all", "optimizer state of groups that thaw; default keep",
         [](const S& s) { optim::parse_on_unfreeze(s.on_unfreeze); }},
    };
    for (auto& figure : schedule_keys(&S::figures)) {
        keys.push_back({figure.name, std::move(figure.slot), figure.hint, figure.help});
    }
    return keys;
}

const std::vector<TableKey<StageTable>>& keys_of(const StageTable&) {
    static const std::vector<TableKey<StageTable>> keys = stage_keys();
    return keys;
}

const std::vector<TableKey<GradualTable>>& keys_of(const GradualTable&) {
    using G = GradualTable;
    static const std::vector<TableKey<G>> keys = {
        {"each", &G::each, "TEXT", "how long before the next group thaws; default '1e'",
         [](const G& g) { optim::parse_length(g.each); }},
        {"on_unfreeze", &G::on_unfreeze, "keep|reset|reset-all", "optimizer state of groups that thaw; default keep",
         [](const G& g) { optim::parse_on_unfreeze(g.on_unfreeze); }},
    };
    return keys;
}

const std::vector<TableKey<FineTuneTable>>& keys_of(const FineTuneTable&) {
    using F = FineTuneTable;
    static const std::vector<TableKey<F>> keys = {
        {"freeze_epochs", &F::freeze_epochs, "NUMBER", "epochs in which only the last group trains; default 1",
         [](const F& f) {
             if (!(*f.freeze_epochs > 0.0)) user_error("it is {}, but must be above 0", *f.freeze_epochs);
         }},
        {"lr_mult", &F::lr_mult, "NUMBER", "then: the last group's rate over the first's; default 100",
         [](const F& f) {
             if (!(*f.lr_mult >= 1.0)) user_error("it is {}, but must be 1 or more", *f.lr_mult);
         }},
        {"pct_start", &F::pct_start, "NUMBER", "share of the second stage at which its rates peak; default 0.3"},
        {"div", &F::div, "NUMBER", "its peak over its first rate; default 5"},
    };
    return keys;
}

[[noreturn]] void unknown_key(const std::string& where, const std::string& key, const std::vector<std::string>& known) {
    std::string list;
    for (const auto& name : known) list += (list.empty() ? "" : ", ") + name;
    user_error("{}: unknown key '{}'.{} Its keys: {}.", where, key, did_you_mean(key, known), list);
}

template <typename S>
const TableKey<S>& find_key(const std::string& given, const std::string& where) {
    std::string name = given;
    std::replace(name.begin(), name.end(), '-', '_');
    std::vector<std::string> known;
    for (const auto& key : keys_of(S{})) {
        if (key.name == name) return key;
        known.push_back(key.name);
    }
    unknown_key(where, given, known);
}

template <typename S>
void read_key(S& table, const std::string& given, const toml::node& node) {
    const std::int64_t line = node.source().begin.line;
    const std::string place = fmt::format("{}:{}: {}", table.places.file, line, table.places.table);
    const TableKey<S>& key = find_key<S>(given, place);
    const std::string where = fmt::format("{}: {}", place, key.name);
    const toml::array* array = node.as_array();
    if (array != nullptr && array->empty()) user_error("{}: the list is empty; fill it or leave the key out", where);
    Value value = key.slot.get(table);
    if (std::holds_alternative<std::vector<double>>(value) && node.is_number()) {
        value = std::vector{std::get<double>(parse_node(Value(0.0), node, where))};
    } else {
        value = parse_node(value, node, where);
    }
    key.slot.set(table, std::move(value));
    table.places.lines[key.name] = line;
    if (!key.check) return;
    try {
        key.check(table);
    } catch (const UserError& error) {
        user_error("{}: {}", where, error.what());
    }
}

template <typename S>
S read_table(const toml::table& node, const std::string& title, const std::string& file) {
    S table;
    table.places = {file, title, node.source().begin.line};
    for (const auto& [key, value] : node) read_key(table, std::string(key.str()), value);
    return table;
}

template <typename S>
S read_one(const toml::node& node, const std::string& name, const std::string& file) {
    if (!node.is_table()) user_error("{}:{}: {} is one table: write [{}]", file, node.source().begin.line, name, name);
    return read_table<S>(*node.as_table(), "[" + name + "]", file);
}

template <typename S>
std::vector<S> read_many(const toml::node& node, const std::string& name, const std::string& file) {
    const toml::array* array = node.as_array();
    const bool tables = array != nullptr && std::all_of(array->begin(), array->end(),
                                                        [](const toml::node& item) { return item.is_table(); });
    if (!tables) {
        user_error("{}:{}: {} is a list of tables: write [[{}]] before each", file, node.source().begin.line, name,
                   name);
    }
    std::vector<S> list;
    for (const auto& item : *array) {
        list.push_back(read_table<S>(*item.as_table(), fmt::format("[[{}]] {}", name, list.size() + 1), file));
    }
    return list;
}

template <typename S>
std::string toml_of(const S& table, const std::string& heading) {
    std::string text = "\n" + heading + "\n";
    for (const auto& key : keys_of(table)) {
        const std::string value = to_text(key.slot.get(table));
        if (value != to_text(key.slot.get(S{}))) text += fmt::format("{} = {}\n", key.name, value);
    }
    return text;
}

template <typename S>
std::string help_of(const std::string& heading, const std::string& what) {
    std::string text = fmt::format("\n  {}  {}\n", heading, what);
    for (const auto& key : keys_of(S{})) text += fmt::format("    {} = {}\n        {}\n", key.name, key.hint, key.help);
    return text;
}

}  // namespace

std::vector<std::string> config_table_names() {
    return {"group", "stage", "gradual", "fine_tune"};
}

void read_config_table(Config& config, std::string_view name, const toml::node& node, const std::string& file) {
    if (name == "group") {
        config.group_tables = read_many<GroupTable>(node, "group", file);
    } else if (name == "stage") {
        config.stage_tables = read_many<StageTable>(node, "stage", file);
    } else if (name == "gradual") {
        config.gradual = read_one<GradualTable>(node, "gradual", file);
    } else if (name == "fine_tune") {
        config.fine_tune = read_one<FineTuneTable>(node, "fine_tune", file);
    } else {
        STRATA_CHECK(false, "no table [{}]", name);
    }
}

std::string config_tables_toml(const Config& config) {
    std::string text;
    for (const auto& table : config.group_tables) text += toml_of(table, "[[group]]");
    for (const auto& table : config.stage_tables) text += toml_of(table, "[[stage]]");
    if (config.gradual) text += toml_of(*config.gradual, "[gradual]");
    if (config.fine_tune) text += toml_of(*config.fine_tune, "[fine_tune]");
    return text;
}

std::string config_tables_help() {
    return "\nTables of the configuration file:\n" +
           help_of<GroupTable>("[[group]]", "one group by hand, input side first; policy rules, multipliers or slice") +
           help_of<StageTable>("[[stage]]", "a stretch of the run with groups, rates and a schedule of its own") +
           help_of<GradualTable>("[gradual]", "instead of stages: ULMFiT's, one more group from the head down") +
           help_of<FineTuneTable>("[fine_tune]", "instead of stages: fastai's fine_tune");
}

}  // namespace strata::app
