// The place in the configuration file of what an error is about.
#pragma once

#include <string>

#include "apps/strata/config.h"
#include "core/error.h"

namespace strata::app {

/// "run.toml:14: [[stage]] 2: " for a message that names a stage, a group or a key that the file sets: the first it
/// names, and its key's line where the message names one too. Empty where it names none.
std::string place_of(const Config& config, const std::string& message);

/// What `action` returns; its UserErrors with their place before them.
template <typename Action>
auto naming_places(const Config& config, Action&& action) {
    try {
        return action();
    } catch (const UserError& error) {
        user_error("{}{}", place_of(config, error.what()), error.what());
    }
}

}  // namespace strata::app
