#include "apps/strata/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "dist/checksums.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t cache_format = 1;  // one more whenever the same tokenizer and text get other ids

HeldTokens tokenize_now(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                        std::int64_t max_seq_length, int threads) {
    auto made = std::make_shared<const data::TokenSequences>(
        data::tokenize_all(tokenizer, dataset.examples, max_seq_length, threads));
    return {*made, made, ""};
}

/// An exclusive lock on a folder until it goes; none where the file system has no locks.
Descriptor locked(const fs::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && ::flock(fd, LOCK_EX) != 0 && errno == EINTR) {
    }
    return Descriptor(fd);
}

}  // namespace

std::string token_cache_key(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                            std::int64_t max_seq_length) {
    constexpr std::uint64_t no_pair = ~std::uint64_t{0};
    const std::string identity = tokenizer.identity();
    std::vector<std::uint64_t> parts = {static_cast<std::uint64_t>(cache_format),
                                        static_cast<std::uint64_t>(max_seq_length), identity.size(),
                                        dist::hash_bytes(identity.data(), identity.size())};
    parts.reserve(parts.size() + 4 * dataset.examples.size());
    const auto add = [&](std::string_view text) {
        parts.push_back(text.size());
        parts.push_back(dist::hash_bytes(text.data(), text.size()));
    };
    for (const auto& example : dataset.examples) {
        add(example.text_a);
        if (example.text_b) {
            add(*example.text_b);
        } else {
            parts.push_back(no_pair);
        }
    }
    return dist::hash_text(dist::hash_bytes(parts.data(), parts.size() * sizeof(parts[0])));
}

HeldTokens tokens_of(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                     std::int64_t max_seq_length, int threads, const fs::path& folder) {
    if (folder.empty() || dataset.examples.empty()) return tokenize_now(dataset, tokenizer, max_seq_length, threads);
    const std::string key = token_cache_key(dataset, tokenizer, max_seq_length);
    const fs::path file = folder / (key + ".h5");
    std::error_code no_folder;  // shows when the file is written
    fs::create_directories(folder, no_folder);
    const Descriptor lock = locked(folder);
    std::string why;
    if (auto cached = read_token_cache(file, key, why)) {
        cached->note = fmt::format("tokens of {}: read from {}", dataset.path.string(), file.string());
        return *std::move(cached);
    }

    HeldTokens made = tokenize_now(dataset, tokenizer, max_seq_length, threads);
    try {
        write_token_cache(file, key, made.tokens);
        made.note = why.empty()
                        ? fmt::format("tokens of {}: kept in {}", dataset.path.string(), file.string())
                        : fmt::format("tokens of {}: made again, for {} {}", dataset.path.string(), file.string(), why);
    } catch (const std::exception& error) {
        made.note = fmt::format("tokens of {}: not kept: {}", dataset.path.string(), error.what());
    }
    return made;
}

}  // namespace strata::app
