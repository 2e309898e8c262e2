// The tables of the configuration file beyond one key a flag: [[group]], [[stage]], [gradual] and [fine_tune].
//
// Each table's keys are one list, which the parser, the printer and --help are made from.
#pragma once

#include <toml++/toml.h>
#include <string>
#include <string_view>
#include <vector>

#include "apps/strata/config.h"

namespace strata::app {

/// "group", "stage", "gradual", "fine_tune".
std::vector<std::string> config_table_names();

/// Reads the file's node of that name into `config`. Throws UserError that begins with the place ("run.toml:14:
/// [[stage]] 2: freeze_to") for a node that is no such table, an unknown key, with the nearest, and a value that is
/// none of its key's.
void read_config_table(Config& config, std::string_view name, const toml::node& node, const std::string& file);

/// The tables of `config` as text of a file that reads back to the same.
std::string config_tables_toml(const Config& config);

/// What --help says about them.
std::string config_tables_help();

}  // namespace strata::app
