// checksums.json: sizes and XXH3-64 hashes of the files of a checkpoint folder.
//
//   {"files": {"config.json": {"bytes": 612, "xxh3": "9f…"}, …,
//              "state.h5": {"bytes": …, "structure_xxh3": "…", "datasets": [{"name", "offset", "bytes", "xxh3"?}, …]}},
//    "files_xxh3": "…"}
//
// The text is canonical (sorted keys, two spaces), and a file that is not what writing it again would give is damaged;
// so a flipped bit in the list itself is found as well. A dataset without xxh3 is a large one, hashed in blocks in
// state.h5's own /checksums table. `structure_xxh3` is of all bytes of state.h5 outside its datasets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace strata::dist {

inline constexpr const char* checksums_name = "checksums.json";
inline constexpr const char* state_name = "state.h5";

std::uint64_t hash_bytes(const void* data, std::size_t bytes);
std::string hash_text(std::uint64_t hash);  // 16 hexadecimal digits
std::string hash_file(const std::filesystem::path& path);

/// The text of checksums.json for the files of `folder` as they are now (checksums.json itself aside).
std::string make_checksums(const std::filesystem::path& folder);

/// What is wrong with the files of `folder` by its checksums.json; empty if nothing. The bulk of state.h5 is not read.
std::vector<std::string> verify_files(const std::filesystem::path& folder);
/// The same for state.h5 alone: cheap, and safe to do before HDF5 opens it.
std::vector<std::string> verify_state_structure(const std::filesystem::path& folder);

}  // namespace strata::dist
