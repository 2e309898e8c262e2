// The names a user probably meant, for error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strata {

/// Edit distance (insert, delete, replace, swap of neighbours), ignoring case and taking '-' for '_'.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// At most `count` of `names`, nearest to `name` first; ties keep their order in `names`.
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& names,
                                       std::size_t count = 5);

/// " Did you mean 'learning_rate'?" for the nearest name if it is close, else an empty string.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& names);

}  // namespace strata
