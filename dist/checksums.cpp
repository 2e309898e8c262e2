#include "dist/checksums.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include <xxhash.h>

#include "core/error.h"
#include "core/file.h"
#include "dist/state_file.h"

namespace strata::dist {
namespace {

using nlohmann::json;

struct ByteRange {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

/// The hash of all bytes of `file` outside `ranges`, which are sorted, apart from one another and inside the file.
std::string hash_outside(const MappedFile& file, const std::vector<ByteRange>& ranges) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    std::uint64_t at = 0;
    const auto take_until = [&](std::uint64_t end) { XXH3_64bits_update(&state, file.bytes().data() + at, end - at); };
    for (const ByteRange& range : ranges) {
        take_until(range.offset);
        at = range.offset + range.bytes;
    }
    take_until(file.bytes().size());
    return hash_text(XXH3_64bits_digest(&state));
}

json describe_state(const std::filesystem::path& path) {
    const std::vector<StateFile::Extent> extents = StateFile(path).extents();
    const MappedFile file(path);
    std::vector<ByteRange> ranges;
    json datasets = json::array();
    for (const StateFile::Extent& extent : extents) {
        ranges.push_back({extent.offset, extent.bytes});
        json dataset{{"name", extent.dataset}, {"offset", extent.offset}, {"bytes", extent.bytes}};
        if (!extent.in_checksums)
            dataset["xxh3"] = hash_text(hash_bytes(file.bytes().data() + extent.offset, extent.bytes));
        datasets.push_back(std::move(dataset));
    }
    return {{"bytes", file.bytes().size()}, {"structure_xxh3", hash_outside(file, ranges)}, {"datasets", datasets}};
}

/// checksums.json as the text that it must be.
std::string canonical_text(const json& files) {
    const std::string hash = hash_text(hash_bytes(files.dump().data(), files.dump().size()));
    return json{{"files", files}, {"files_xxh3", hash}}.dump(2) + "\n";
}

/// The list of files, or null and a problem.
json read_list(const std::filesystem::path& folder, std::vector<std::string>& problems) {
    const std::filesystem::path path = folder / checksums_name;
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
        problems.push_back(fmt::format("{}: is missing, so nothing in this folder can be trusted", path.string()));
        return nullptr;
    }
    const std::string text = read_file(path);
    const json list = json::parse(text, nullptr, false);
    if (!list.is_object() || !list.contains("files") || !list["files"].is_object() ||
        canonical_text(list["files"]) != text) {
        problems.push_back(fmt::format("{}: is damaged, so nothing in this folder can be trusted", path.string()));
        return nullptr;
    }
    return list["files"];
}

std::uint64_t number_in(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string text_in(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// One dataset's range and small content. False if the list itself has no sense for a file of this size.
bool verify_dataset(const MappedFile& file, const json& dataset, std::vector<ByteRange>& ranges,
                    std::vector<std::string>& problems) {
    const ByteRange range{number_in(dataset, "offset"), number_in(dataset, "bytes")};
    const std::uint64_t end = ranges.empty() ? 0 : ranges.back().offset + ranges.back().bytes;
    if (range.offset < end || range.offset > file.bytes().size() || range.bytes > file.bytes().size() - range.offset) {
        return false;
    }
    const std::string expected = text_in(dataset, "xxh3");
    if (!expected.empty() && hash_text(hash_bytes(file.bytes().data() + range.offset, range.bytes)) != expected) {
        problems.push_back(fmt::format("{}: dataset {} differs from its checksum: the file is damaged",
                                       file.path().string(), text_in(dataset, "name")));
    }
    ranges.push_back(range);
    return true;
}

std::vector<std::string> verify_state(const std::filesystem::path& path, const json& entry) {
    std::vector<std::string> problems;
    const MappedFile file(path);
    if (file.bytes().size() != number_in(entry, "bytes")) {
        // Name the first dataset that the end of the file cuts, where that is what happened.
        std::string cut;
        for (const json& dataset : entry.value("datasets", json::array())) {
            if (number_in(dataset, "offset") + number_in(dataset, "bytes") > file.bytes().size() && cut.empty()) {
                cut = ", which cuts dataset " + text_in(dataset, "name");
            }
        }
        return {fmt::format("{}: has {} bytes of {}{}: the file is damaged", path.string(), file.bytes().size(),
                            number_in(entry, "bytes"), cut)};
    }
    std::vector<ByteRange> ranges;
    for (const json& dataset : entry.value("datasets", json::array())) {
        if (!verify_dataset(file, dataset, ranges, problems)) {
            return {
                fmt::format("{}: the datasets listed in {} do not fit into the file", path.string(), checksums_name)};
        }
    }
    if (hash_outside(file, ranges) != text_in(entry, "structure_xxh3")) {
        problems.push_back(
            fmt::format("{}: its structure (headers, names, attributes of / and /groups) differs from its "
                        "checksum: the file is damaged",
                        path.string()));
    }
    return problems;
}

/// A name in the list leads to a file in the folder and nowhere else.
bool is_plain_name(const std::string& name) {
    const std::filesystem::path path(name);
    return !name.empty() && path.is_relative() &&
           std::none_of(path.begin(), path.end(), [](const auto& part) { return part == ".."; });
}

std::vector<std::string> verify_listed(const std::filesystem::path& folder, const std::string& name,
                                       const json& entry) {
    const std::filesystem::path path = folder / name;
    std::error_code error;
    if (!is_plain_name(name))
        return {fmt::format("{}: lists '{}', outside of its folder", (folder / checksums_name).string(), name)};
    if (!std::filesystem::is_regular_file(path, error)) return {fmt::format("{}: is missing", path.string())};
    if (name == state_name) return verify_state(path, entry);
    const std::uint64_t bytes = std::filesystem::file_size(path, error);
    if (error || bytes != number_in(entry, "bytes")) {
        return {fmt::format("{}: has {} bytes of {}: the file is damaged", path.string(), bytes,
                            number_in(entry, "bytes"))};
    }
    if (hash_file(path) != text_in(entry, "xxh3")) {
        return {fmt::format("{}: differs from its checksum: the file is damaged", path.string())};
    }
    return {};
}

}  // namespace

std::uint64_t hash_bytes(const void* data, std::size_t bytes) {
    return XXH3_64bits(data, bytes);
}

std::string hash_text(std::uint64_t hash) {
    return fmt::format("{:016x}", hash);
}

std::string hash_file(const std::filesystem::path& path) {
    const MappedFile file(path);
    return hash_text(hash_bytes(file.bytes().data(), file.bytes().size()));
}

std::string make_checksums(const std::filesystem::path& folder) {
    json files = json::object();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file()) continue;
        const std::string name = entry.path().lexically_relative(folder).generic_string();
        if (name == checksums_name) continue;
        if (name == state_name) {
            files[name] = describe_state(entry.path());
        } else {
            files[name] = {{"bytes", entry.file_size()}, {"xxh3", hash_file(entry.path())}};
        }
    }
    return canonical_text(files);
}

std::vector<std::string> verify_files(const std::filesystem::path& folder) {
    std::vector<std::string> problems;
    const json files = read_list(folder, problems);
    if (files.is_null()) return problems;
    if (!files.contains(state_name))
        problems.push_back(fmt::format("{}: does not list {}", (folder / checksums_name).string(), state_name));
    for (const auto& [name, entry] : files.items()) {
        const std::vector<std::string> found = verify_listed(folder, name, entry);
        problems.insert(problems.end(), found.begin(), found.end());
    }
    return problems;
}

std::vector<std::string> verify_state_structure(const std::filesystem::path& folder) {
    std::vector<std::string> problems;
    const json files = read_list(folder, problems);
    if (files.is_null()) return problems;
    return verify_listed(folder, state_name, files.value(state_name, json::object()));
}

}  // namespace strata::dist
