// What a run that goes on does otherwise than the one it goes on from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/strata/config.h"

namespace strata::app {

/// The keys of to_toml's text with their values: "seed" -> "42", "[[stage]] 2: length" -> "\"1e\"". Keys of [groups] go
/// by their names alone, as flags do.
std::map<std::string, std::string> config_entries(const std::string& toml_text);

/// The same of a saved configuration with every key that it does not have, since it is younger, at its default: for
/// bf16 that of old, "false".
std::map<std::string, std::string> saved_entries(const std::string& toml_text);

/// A key that stands otherwise in `b` than in `a`; a value is empty where the key is unset.
struct Change {
    std::string key, a, b;
};

/// Every key (of to_toml's texts) that changes what is learned, in order of their names; keys that a text does not have
/// as saved_entries() says.
std::vector<Change> compare_configs(const std::string& a, const std::string& b);

/// Every change from the saved configuration (to_toml's text) that changes what is learned, a line each, beginning with
/// a line break; empty where there is none. Keys that only say where, how often or how loudly are free to change.
std::string config_changes(const std::string& saved, const Config& config);

}  // namespace strata::app
