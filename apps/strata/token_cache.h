// The tokens of data files, kept from run to run: one HDF5 file for each data file in a folder, read through a memory
// map that all ranks of a host share.
//
// A file is named by a hash of the texts, of everything in the tokenizer that decides ids, and of the length limit:
// what has changed is another file, and no file is ever out of date. Layout of KEY.h5:
//
//   user block, 512 bytes     XXH3 of the next line, newline, {"format", "key", "inputs", "tokens", "ids", "offsets",
//                             "first_tokens", "bytes", "xxh3"}: where the three datasets lie, the file's size, and the
//                             hash of all that follows the block
//   /ids /offsets /first_tokens   int32, int64, int32; each contiguous: data::TokenSequencesView
//
// A reader needs no HDF5: it believes nothing before the hashes are right, and then maps. A file that is damaged, cut
// short or foreign is made again. Files are written beside and renamed. Of the processes of a host that want the same
// folder at once, one works while the others wait, and then read (a lock on the folder; a file system without locks
// only costs work done twice). Where the folder cannot be written, all goes on without it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/dataset.h"
#include "data/token_sequences.h"
#include "data/wordpiece.h"

namespace strata::app {

struct HeldTokens {
    data::TokenSequencesView tokens;
    std::shared_ptr<const void> holder;  // of what they are views of
    std::string note;                    // for people, of the cache; empty where there is nothing to say
};

/// Tokenizes a dataset's examples, each cut to `max_seq_length` tokens. `folder`: of the cache; empty: none. Errors are
/// the tokenizer's alone.
HeldTokens tokens_of(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                     std::int64_t max_seq_length, int threads, const std::filesystem::path& folder);

/// The name of their file in the cache.
std::string token_cache_key(const data::Dataset& dataset, const data::WordPieceTokenizer& tokenizer,
                            std::int64_t max_seq_length);

/// Writes the file. Throws SystemError or UserError where it cannot be written; then nothing is left.
void write_token_cache(const std::filesystem::path& file, const std::string& key, data::TokenSequencesView tokens);

/// Maps the file; nothing, and `why` says why, for a file that is not what write_token_cache() wrote under this key.
std::optional<HeldTokens> read_token_cache(const std::filesystem::path& file, const std::string& key, std::string& why);

}  // namespace strata::app
