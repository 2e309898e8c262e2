// Values of options: from text, from a TOML node, and back to TOML.
#pragma once

#include <toml++/toml.h>
#include <string>
#include <string_view>

#include "apps/strata/options.h"

namespace strata::app {

/// Sets the option's member from a flag's text. `where` opens the message of the UserError ("--learning_rate").
void assign_text(Config& config, const Option& option, std::string_view text, const std::string& where);

/// Sets the option's member from a TOML value; `where` is "run.toml:12: learning_rate".
void assign_node(Config& config, const Option& option, const toml::node& node, const std::string& where);

/// The member as TOML text; an unset optional gives an empty string.
std::string to_text(const Config& config, const Option& option);

/// "NUMBER", "true|false", "adamw|sgd": what --help shows after the flag.
std::string value_hint(const Option& option);

/// Whether the flag may stand alone, for true.
bool is_boolean(const Option& option);

}  // namespace strata::app
