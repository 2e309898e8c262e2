// Names inside state.h5, shared by its writer and its reader (state_file.h has the layout).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dist/state.h"

namespace strata::dist {

inline constexpr std::string_view state_format = "strata-state";
inline constexpr std::int64_t state_version = 1;

/// A group's name as a link: HDF5 takes '/' for a path and "." for the place itself.
inline std::string group_link(std::string_view name) {
    std::string link;
    for (const char letter : name) {
        if (letter == '/')
            link += "%2F";
        else if (letter == '%')
            link += "%25";
        else if (letter == '.' && link.empty())
            link += "%2E";
        else
            link += letter;
    }
    return link;
}

inline std::string dataset_path(std::string_view group_name, StateKind kind) {
    return "/groups/" + group_link(group_name) + "/" + std::string(name_of(kind));
}

/// XXH3-64 of elements as they lie in memory, which is as they lie in the file.
std::uint64_t hash_elements(const float* data, std::int64_t elements);

}  // namespace strata::dist
