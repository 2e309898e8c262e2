// A whole state.h5 as memory: for reading much of it without taking any.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "dist/state.h"

namespace strata::dist {

class StateMap {
  public:
    /// Nothing of the bulk is checked: for a file that was just read back. Errors as StateFile's.
    explicit StateMap(const std::filesystem::path& path);

    /// The first byte of a dataset of floats; null where the group has none. HDF5 may put it at an odd place.
    const std::byte* data(std::size_t group, StateKind kind) const;

  private:
    MappedFile file_;
    std::vector<std::string> groups_;
    std::map<std::string, std::uint64_t> offsets_;  // by dataset
};

}  // namespace strata::dist
