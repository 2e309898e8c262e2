// The one table of options: parser, --help, configuration file and its errors all come from it.
//
// Every flag is a key of the file and every key a flag. In the file a key may lie in a table (policy in [groups]);
// on the command line it has no prefix. Dashes and underscores are the same.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/strata/config.h"
#include "apps/strata/value.h"

namespace strata::app {

/// The commands an option belongs to, as bits.
enum Command : unsigned {
    command_train = 1u << 0,
    command_evaluate = 1u << 1,
    command_predict = 1u << 2,
    command_plan = 1u << 3,
    command_tokenize = 1u << 4,
    command_inspect = 1u << 5,
    command_lr_find = 1u << 6,
    command_report = 1u << 7,
    command_verify = 1u << 8,
    command_export = 1u << 9,
    command_diff = 1u << 10,
    command_average = 1u << 11,
    command_bench_step = 1u << 12,
};

struct Option {
    std::string name;  ///< with underscores; also the key in the file
    Slot<Config> slot;
    unsigned commands;  ///< commands that take it
    std::string topic;  ///< heading in --help
    std::string help;
    std::string table;                          ///< the file's table that holds the key; empty for the top level
    std::vector<std::string> choices;           ///< for text: the values allowed; empty for any
    std::string alias;                          ///< another name people use, or empty
    void (*check)(std::string_view) = nullptr;  ///< throws UserError for unknown text, in place of `choices`
    bool changes_freely =
        false;  ///< where, how often, how loudly: a run that goes on with another value learns the same

    Option& one_of(std::vector<std::string> values) {
        choices = std::move(values);
        return *this;
    }
    Option& checked_by(void (*checker)(std::string_view)) {
        check = checker;
        return *this;
    }
    Option& called_also(std::string other_name) {
        alias = std::move(other_name);
        return *this;
    }
    Option& free_to_change() {
        changes_freely = true;
        return *this;
    }
};

const std::vector<Option>& option_table();

/// By its name or its other one, with underscores; null for none.
const Option* find_option(std::string_view name);

struct CommandLine {
    Command command;
    std::string command_name;
    Config config;
    bool help = false;
    std::string help_text;
};

/// Parses `strata COMMAND …`: the configuration file first (--config), flags over it, then validates.
/// Throws UserError: unknown command, flag, key or value, each with the nearest name; file errors say file:line.
CommandLine parse_command_line(int argc, const char* const* argv);

/// The configuration as a file that parses back to the same values; keys at their default are left out unless `full`.
std::string to_toml(const Config& config, unsigned commands, bool full);

}  // namespace strata::app
