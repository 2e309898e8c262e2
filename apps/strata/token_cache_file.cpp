// One file of the token cache: written by HDF5, read by its own user block.
#include <unistd.h>

#include <fcntl.h>

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/strata/token_cache.h"
#include "core/error.h"
#include "core/file.h"
#include "dist/checksums.h"
#include "dist/hdf5.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace h5 = dist::hdf5;
namespace {

constexpr std::int64_t file_format = 1;
constexpr std::size_t block_bytes = 512;
constexpr std::size_t hash_digits = 16;
constexpr std::size_t alignment = 64;

/// A file that is removed when it goes, unless it was renamed.
class FileBeside {
  public:
    explicit FileBeside(const fs::path& file)
        : file_(file), beside_(fmt::format("{}.{}.tmp", file.string(), ::getpid())) {}
    ~FileBeside() { ::unlink(beside_.c_str()); }
    FileBeside(const FileBeside&) = delete;
    FileBeside& operator=(const FileBeside&) = delete;
    const fs::path& path() const { return beside_; }
    void commit() {
        sync_path(beside_);
        if (::rename(beside_.c_str(), file_.c_str()) != 0) {
            throw_errno(fmt::format("{}: cannot be renamed", beside_.string()));
        }
    }

  private:
    fs::path file_;
    fs::path beside_;
};

template <typename Element>
std::uint64_t write_dataset(const h5::File& file, const char* name, hid_t type, std::span<const Element> values,
                            const std::string& where) {
    const std::string action = fmt::format("{}: dataset {}", where, name);
    const hsize_t extent = values.size();
    const h5::Space space(H5Screate_simple(1, &extent, nullptr), action);
    const h5::PropertyList properties = h5::contiguous_dataset();
    const h5::Dataset dataset(
        H5Dcreate2(file.get(), name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), action);
    h5::check(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), action);
    return H5Dget_offset(dataset.get());
}

nlohmann::json write_datasets(const fs::path& path, data::TokenSequencesView tokens) {
    h5::silence_errors();
    const std::string where = path.string();
    const h5::PropertyList creation = h5::timeless(H5P_FILE_CREATE);
    h5::check(H5Pset_userblock(creation.get(), block_bytes), where);
    const h5::PropertyList access = h5::file_access();
    h5::check(H5Pset_alignment(access.get(), 1, alignment), where);
    h5::File file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), where);
    nlohmann::json places;
    places["ids"] = write_dataset(file, "ids", H5T_STD_I32LE, tokens.ids, where);
    places["offsets"] = write_dataset(file, "offsets", H5T_STD_I64LE, tokens.offsets, where);
    places["first_tokens"] = write_dataset(file, "first_tokens", H5T_STD_I32LE, tokens.first_tokens, where);
    file.close(where);
    return places;
}

void write_block(const fs::path& path, const std::string& text) {
    STRATA_CHECK(text.size() <= block_bytes, "a block of {} bytes", text.size());
    std::array<char, block_bytes> block{};
    text.copy(block.data(), text.size());
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0 || ::pwrite(file.get(), block.data(), block.size(), 0) != static_cast<ssize_t>(block.size())) {
        throw_errno(fmt::format("{}: cannot be written", path.string()));
    }
}

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The user block's object, whose own hash is right; null otherwise.
nlohmann::json read_block(std::span<const std::byte> file) {
    if (file.size() < block_bytes) return nullptr;
    const std::string block = text_of(file.first(block_bytes));
    const std::string text = block.substr(0, block.find('\0'));
    if (text.size() <= hash_digits || text[hash_digits] != '\n') return nullptr;
    const std::string json = text.substr(hash_digits + 1);
    if (text.substr(0, hash_digits) != dist::hash_text(dist::hash_bytes(json.data(), json.size()))) return nullptr;
    auto parsed = nlohmann::json::parse(json, nullptr, false);
    return parsed.is_object() ? parsed : nullptr;
}

/// `count` elements at a place in the file; empty where the file does not have them.
template <typename Element>
std::span<const Element> elements(std::span<const std::byte> file, std::uint64_t place, std::uint64_t count) {
    if (place % alignof(Element) != 0 || place > file.size() || count > (file.size() - place) / sizeof(Element))
        return {};
    return {reinterpret_cast<const Element*>(file.data() + place), static_cast<std::size_t>(count)};
}

/// Whether the parts belong together, so that no view of an input leaves the ids.
bool fits(const data::TokenSequencesView& tokens, std::uint64_t inputs, std::uint64_t ids) {
    if (tokens.size() != inputs || tokens.ids.size() != ids || tokens.offsets.size() != inputs + 1) return false;
    if (tokens.offsets.front() != 0 || tokens.offsets.back() != static_cast<std::int64_t>(ids)) return false;
    for (std::size_t i = 0; i < inputs; ++i) {
        const std::int64_t length = tokens.offsets[i + 1] - tokens.offsets[i];
        if (length < 1 || tokens.first_tokens[i] < 0 || tokens.first_tokens[i] > length) return false;
    }
    return true;
}

}  // namespace

void write_token_cache(const fs::path& file, const std::string& key, data::TokenSequencesView tokens) {
    FileBeside beside(file);
    nlohmann::json block = write_datasets(beside.path(), tokens);
    const MappedFile written(beside.path());
    const auto rest = written.bytes().subspan(block_bytes);
    block["format"] = file_format;
    block["key"] = key;
    block["inputs"] = tokens.size();
    block["tokens"] = tokens.ids.size();
    block["bytes"] = written.bytes().size();
    block["xxh3"] = dist::hash_text(dist::hash_bytes(rest.data(), rest.size()));
    const std::string text = block.dump();
    write_block(beside.path(), dist::hash_text(dist::hash_bytes(text.data(), text.size())) + "\n" + text);
    beside.commit();
}

std::optional<HeldTokens> read_token_cache(const fs::path& file, const std::string& key, std::string& why) {
    why.clear();
    if (!fs::exists(file)) return std::nullopt;
    try {
        auto map = std::make_shared<const MappedFile>(file);
        const auto bytes = map->bytes();
        const nlohmann::json block = read_block(bytes);
        why = "is damaged";
        if (block.is_null() || block.at("bytes") != bytes.size()) return std::nullopt;
        const auto rest = bytes.subspan(block_bytes);
        if (block.at("xxh3") != dist::hash_text(dist::hash_bytes(rest.data(), rest.size()))) return std::nullopt;
        why = "is of other texts or of another tokenizer";
        if (block.at("format") != file_format || block.at("key") != key) return std::nullopt;
        const auto number = [&](const char* name) { return block.at(name).get<std::uint64_t>(); };
        const std::uint64_t inputs = number("inputs");
        const data::TokenSequencesView tokens = {
            elements<std::int32_t>(bytes, number("ids"), number("tokens")),
            elements<std::int64_t>(bytes, number("offsets"), inputs + 1),
            elements<std::int32_t>(bytes, number("first_tokens"), inputs),
        };
        why = "is damaged";
        if (!fits(tokens, inputs, number("tokens"))) return std::nullopt;
        why.clear();
        return HeldTokens{tokens, std::move(map), ""};
    } catch (const std::exception& error) {
        why = fmt::format("cannot be read ({})", error.what());
        return std::nullopt;
    }
}

}  // namespace strata::app
