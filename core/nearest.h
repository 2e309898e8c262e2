// Names that a user chooses from: finding them, listing them, and guessing which was meant.
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

/// " Did you mean 'learning_rate'?" for the nearest name if close, else the first with `name` among its words, else "".
std::string did_you_mean(std::string_view name, const std::vector<std::string>& names);

/// "a, b and c".
std::string listed(const std::vector<std::string>& names, std::string_view last = "and");

/// Where `name` is in `names`, dashes and underscores being the same. Throws UserError with the nearest and all of them
/// where it is not: "Unknown schedule 'liner'. Did you mean 'linear'? It is one of constant, linear or cosine."
std::size_t index_of_name(std::string_view what, std::string_view name, const std::vector<std::string>& names);

}  // namespace strata
