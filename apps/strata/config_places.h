// The place in the configuration file of what an error is about.
//
// It is read off the error's text, so that optim, which makes most of them, need not know that there is a file. A
// message begins with the stage or group that it is about, writes keys as they are, and names that users gave in
// quotes. What cannot be known: whether a word outside quotes that is a key too ("Layer decay 1.5 is outside ...")
// means the key, and, of several keys, which one is to blame: the first that the file sets is taken. So the line is
// where to look first, and the message stands without it.
#pragma once

#include <string>

#include "apps/strata/config.h"
#include "core/error.h"

namespace strata::app {

/// "run.toml:14: [[stage]] 2: " for a message about a stage or group of the file, with the line of the first of its
/// keys that the message names, else the table's. "run.toml:3: " for the first key of the file's options that it names.
/// Empty where it names none.
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
