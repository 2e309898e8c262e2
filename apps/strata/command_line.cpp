// The parser over the option table: CLI11 splits the arguments, toml++ reads the file, the table says what is allowed.
#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "apps/strata/config_tables.h"
#include "apps/strata/option_topics.h"
#include "apps/strata/option_value.h"
#include "apps/strata/options.h"
#include "apps/strata/trainer_flags.h"
#include "core/error.h"
#include "core/file.h"
#include "core/nearest.h"

namespace strata::app {
namespace {

/// Commands that the tables of groups and stages are for.
constexpr unsigned commands_with_tables = command_train | command_plan | command_lr_find | command_bench_step;

struct CommandEntry {
    Command command;
    std::string name;  ///< one word or two
    std::string help;
    // What it takes besides options, if anything.
    std::string words = {};  ///< for people: "RUN …"
    std::vector<std::string> Config::*list =
        nullptr;  ///< where they go; not split at commas, as a flag's text would be
    std::size_t least = 0;
    bool output_last = false;  ///< the last word is what --output names
};

const std::vector<CommandEntry>& commands() {
    static const std::vector<CommandEntry> entries = {
        {command_train, "train", "Fine-tune a model; run it under mpirun for several ranks"},
        {command_evaluate, "evaluate", "Measure a model on labelled data"},
        {command_predict, "predict", "Write a model's predictions"},
        {command_plan, "plan", "Show groups, rates and memory before any run: no GPU, MPI or data needed"},
        {command_lr_find, "lr-find", "Find a learning rate by a range test, which leaves no trace in the model"},
        {command_bench_step, "bench step", "Say where the time of a training step goes, and its memory"},
        {command_report, "report", "Draw one run or several as one HTML page", "RUN …", &Config::runs, 1},
        {command_tokenize, "tokenize", "Print the token ids of each line"},
        {command_inspect, "checkpoint inspect", "Say what a checkpoint, or each of a run, holds", "PATH …",
         &Config::checkpoints, 1},
        {command_verify, "checkpoint verify",
         "Read every byte of a checkpoint, or of each of a run; exit code 1 names what is damaged", "PATH …",
         &Config::checkpoints, 1},
        {command_export, "checkpoint export", "Write a checkpoint's model as a Hugging Face folder",
         "CHECKPOINT FOLDER", &Config::checkpoints, 1, true},
        {command_average, "checkpoint average", "Write the mean of several checkpoints' weights as such a folder",
         "CHECKPOINT CHECKPOINT … FOLDER", &Config::checkpoints, 2, true},
        {command_diff, "checkpoint diff",
         "Compare two checkpoints: configuration, groups, weights, moments; exit code 1 where they differ",
         "CHECKPOINT CHECKPOINT", &Config::checkpoints, 2},
    };
    return entries;
}

/// "--learning-rate=1" and "--learning_rate=1" are one flag: dashes inside the name become underscores.
std::string with_underscores(std::string argument) {
    if (argument.rfind("--", 0) != 0) return argument;
    const auto end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
    return argument;
}

std::vector<std::string> names_of(unsigned commands_mask) {
    std::vector<std::string> names;
    for (const auto& option : option_table()) {
        if ((option.commands & commands_mask) != 0) names.push_back(option.name);
    }
    return names;
}

std::string place(const std::string& file, const toml::node& node) {
    return fmt::format("{}:{}", file, node.source().begin.line);
}

[[noreturn]] void unknown_key(const std::string& where, const std::string& key, unsigned mask) {
    user_error("{}: unknown key '{}'.{} `strata train --help` lists all keys.", where, key,
               did_you_mean(key, names_of(mask)));
}

void apply_key(Config& config, const std::string& file, const std::string& table, const std::string& key,
               const toml::node& node) {
    const std::string where = place(file, node);
    std::string name = key;
    std::replace(name.begin(), name.end(), '-', '_');
    const Option* option = find_option(name);
    if (option == nullptr) unknown_key(where, table.empty() ? key : table + "." + key, ~0u);
    if (option->table != table) {
        user_error("{}: '{}' belongs {}", where, key,
                   option->table.empty() ? "at the top of the file, before any [table]" : "in [" + option->table + "]");
    }
    assign_node(config, *option, node, fmt::format("{}: {}", where, key));
    config.places.lines[option->name] = node.source().begin.line;
}

bool is_option_table(const std::string& name) {
    return std::any_of(option_table().begin(), option_table().end(), [&](const Option& o) { return o.table == name; });
}

[[noreturn]] void unknown_table(const std::string& where, const std::string& name) {
    std::vector<std::string> known = config_table_names();
    known.insert(known.begin(), {"groups", "lr_find"});
    user_error(
        "{}: unknown table [{}].{} The tables: [groups], [[group]], [[stage]], [gradual], [fine_tune], [lr_find].",
        where, name, did_you_mean(name, known));
}

void apply_file(Config& config, const std::string& file) {
    config.places.file = file;
    const std::vector<std::string> tables = config_table_names();
    toml::table root;
    try {
        root = toml::parse(read_file(file), file);
    } catch (const toml::parse_error& error) {
        const bool bare_word = error.description().find("could not determine value type") != std::string_view::npos;
        user_error("{}:{}:{}: {}{}", file, error.source().begin.line, error.source().begin.column, error.description(),
                   bare_word ? "; text is written in quotes" : "");
    }
    for (const auto& [key, node] : root) {
        const std::string name(key.str());
        if (std::find(tables.begin(), tables.end(), name) != tables.end()) {
            read_config_table(config, name, node, file);
            continue;
        }
        if (node.is_array_of_tables()) unknown_table(place(file, node), name);
        if (!node.is_table()) {
            apply_key(config, file, "", name, node);
            continue;
        }
        if (!is_option_table(name)) unknown_table(place(file, node), name);
        for (const auto& [inner, value] : *node.as_table())
            apply_key(config, file, name, std::string(inner.str()), value);
    }
}

std::string global_help() {
    std::string text =
        "Strata fine-tunes pretrained networks on many ranks, each layer at its own rate.\n\n"
        "Usage: strata COMMAND [options]\n       mpirun -np N strata train --config run.toml [options]\n       strata "
        "--version\n\nCommands:\n";
    for (const auto& entry : commands()) text += fmt::format("  {:<18} {}\n", entry.name, entry.help);
    return text +
           "\n`strata COMMAND --help` lists a command's options. Exit codes: 0 done, 1 failed, 2 wrong input,\n"
           "75 saved and stopped on a signal (start again with --resume_from_checkpoint auto to go on).\n";
}

std::string default_text(const Option& option) {
    const std::string text = to_text(Config{}, option);
    return text == "''" || text == "[]" ? "" : text;
}

/// "strata report RUN …".
std::string usage(const CommandEntry& entry) {
    return fmt::format("strata {}{}{}", entry.name, entry.words.empty() ? "" : " ", entry.words);
}

std::string command_help(const CommandEntry& entry) {
    std::string text = fmt::format("strata {}: {}\n\nUsage: {} [--config FILE.toml] [--option value …]\n", entry.name,
                                   entry.help, usage(entry));
    std::string topic;
    for (const auto& option : option_table()) {
        if ((option.commands & entry.command) == 0) continue;
        if (option.topic != topic) text += fmt::format("\n{}:\n", topic = option.topic);
        const std::string initial = default_text(option);
        text += fmt::format("  --{} {}\n        {}{}{}\n", option.name, value_hint(option), option.help,
                            initial.empty() ? "" : fmt::format(" (default: {})", initial),
                            option.table.empty() ? "" : fmt::format(" [key in [{}]]", option.table));
    }
    if ((entry.command & commands_with_tables) != 0) text += config_tables_help();
    return text + "\nFlags are written with underscores or dashes; each is also a key of the configuration file.\n";
}

/// The arguments after the command, matched with the table: (option, text) in order, and the --config file.
struct Flags {
    std::string config_file;
    bool help = false;
    std::vector<std::pair<const Option*, std::string>> values;
    std::vector<std::string> words;
};

void refuse_extras(const std::vector<std::string>& extras, const CommandEntry& entry) {
    if (extras.empty()) return;
    const std::string& word = extras.front();
    if (word.rfind("--", 0) != 0) {
        user_error("{}: '{}' is not expected here; options are written --name value", entry.name, word);
    }
    const std::string name = word.substr(2, word.find('=') - 2);
    const Option* elsewhere = find_option(name);
    if (elsewhere != nullptr) user_error("{}: --{} is not an option of this command", entry.name, name);
    if (const auto instead = instead_of_trainer_flag(name); !instead.empty()) {
        user_error("{}: there is no --{} here: {}", entry.name, name, instead);
    }
    user_error("{}: unknown option --{}.{} `strata {} --help` lists all options.", entry.name, name,
               did_you_mean(name, names_of(entry.command)), entry.name);
}

Flags read_flags(const CommandEntry& entry, std::vector<std::string> arguments) {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    Flags flags;
    app.add_flag("--help,-h", flags.help);
    app.add_option("--config", flags.config_file);
    if (entry.list != nullptr) app.add_option("words", flags.words);
    std::vector<std::pair<const Option*, CLI::Option*>> bound;
    for (const auto& option : option_table()) {
        if ((option.commands & entry.command) == 0) continue;
        std::string names = "--" + option.name;
        if (!option.alias.empty()) names += ",--" + option.alias;
        CLI::Option* flag = app.add_option(names);
        // A boolean flag may stand alone: --overwrite_output_dir means true.
        flag->expected(is_boolean(option) ? 0 : 1, 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        bound.emplace_back(&option, flag);
    }
    std::reverse(arguments.begin(), arguments.end());
    try {
        app.parse(arguments);
    } catch (const CLI::ArgumentMismatch& error) {
        const std::string text = error.what();
        user_error("{}: {}: its value is missing", entry.name, text.substr(0, text.find(':')));
    } catch (const CLI::ParseError& error) {
        user_error("{}: {}", entry.name, error.what());
    }
    refuse_extras(app.remaining(), entry);
    for (const auto& [option, flag] : bound) {
        if (flag->count() == 0) continue;
        const std::string text = flag->results().empty() ? "" : flag->results().back();
        flags.values.emplace_back(option, text.empty() && is_boolean(*option) ? "true" : text);
    }
    return flags;
}

/// Commands that update nothing take a run's file without what is for the run alone: how updates round, and the folder
/// where its own results stay. The file says the type to compute in by two keys, and --bf16 wins over both.
void leave_the_run_alone(Config& config, const Flags& flags) {
    config.stochastic_rounding = false;
    config.output_dir.clear();
    for (const auto& [option, text] : flags.values) {
        if (option->name == "bf16") config.fp16 = false;
    }
}

/// True for the first word of commands of two, which alone is none.
bool opens_commands(const std::string& word) {
    return std::any_of(commands().begin(), commands().end(),
                       [&](const CommandEntry& entry) { return entry.name.starts_with(word + " "); });
}

/// Takes the command's word or two off the arguments.
const CommandEntry& take_command(std::vector<std::string>& arguments) {
    std::string name = arguments.front();
    arguments.erase(arguments.begin());
    if (opens_commands(name) && !arguments.empty()) {
        name += " " + arguments.front();
        arguments.erase(arguments.begin());
    }
    std::vector<std::string> names;
    for (const auto& entry : commands()) {
        if (entry.name == name) return entry;
        names.push_back(entry.name);
    }
    user_error("unknown command '{}'.{} `strata --help` lists the commands.", name, did_you_mean(name, names));
}

bool asks_for_help(const std::string& word) {
    return word == "--help" || word == "-h" || word == "help";
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
    std::vector<std::string> arguments;
    for (int i = 1; i < argc; ++i) arguments.push_back(with_underscores(argv[i]));
    const bool first_alone = arguments.size() == 2 && opens_commands(arguments[0]);
    if (arguments.empty() || asks_for_help(arguments[0]) || (first_alone && asks_for_help(arguments[1]))) {
        return {command_plan, "", {}, true, global_help()};
    }
    const CommandEntry& entry = take_command(arguments);
    const Flags flags = read_flags(entry, arguments);
    if (flags.help) return {entry.command, entry.name, {}, true, command_help(entry)};
    CommandLine line{entry.command, entry.name, {}, false, ""};
    if (!flags.config_file.empty()) apply_file(line.config, flags.config_file);
    if ((entry.command & inference_commands) != 0) leave_the_run_alone(line.config, flags);
    for (const auto& [option, text] : flags.values) {
        assign_text(line.config, *option, text, "--" + option->name);
        line.config.places.lines.erase(option->name);
    }
    Config& config = line.config;
    if (entry.list != nullptr) {
        std::vector<std::string>& list = config.*entry.list;
        list.insert(list.end(), flags.words.begin(), flags.words.end());
        if (entry.output_last && config.output.empty() && !list.empty()) {
            config.output = std::move(list.back());
            list.pop_back();
        }
        if (list.size() < entry.least) user_error("usage: {}", usage(entry));
    }
    if (config.num_train_epochs == -1 && !stages_set_length(config)) config.num_train_epochs = default_train_epochs;
    validate(config);
    return line;
}

std::string to_toml(const Config& config, unsigned commands_mask, bool full) {
    std::string text;
    std::string table;
    const Config defaults;
    for (const bool in_table : {false, true}) {
        for (const auto& option : option_table()) {
            if (option.table.empty() == in_table || (option.commands & commands_mask) == 0) continue;
            const std::string value = to_text(config, option);
            if (value.empty() || (!full && value == to_text(defaults, option))) continue;
            if (option.table != table) text += fmt::format("\n[{}]\n", table = option.table);
            text += fmt::format("{} = {}\n", option.name, value);
        }
    }
    if ((commands_mask & commands_with_tables) != 0) text += config_tables_toml(config);
    return text;
}

}  // namespace strata::app
