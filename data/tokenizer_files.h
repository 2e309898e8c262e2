// Reads a model folder's tokenizer the way transformers' AutoTokenizer (version 5) does for BERT.
//
// - The vocabulary is tokenizer.json's where there is one, else vocab.txt's: one token a line, trailing white space (so
//   also Windows' line ends) cut off, the id is the line's number from 0.
// - tokenizer_config.json says how to normalise (do_lower_case, strip_accents, tokenize_chinese_chars), whatever
//   tokenizer.json says; without it text is lower-cased. Only where `tokenizer_class` (there, or in config.json) is
//   none of BERT's (PreTrainedTokenizerFast, TokenizersBackend, ...) does tokenizer.json count as it stands.
// - Added tokens and their flags come from tokenizer_config.json's added_tokens_decoder, else from
// special_tokens_map.json,
//   added_tokens.json and tokenizer.json; then the special tokens by name, then additional_special_tokens.
//
// Errors: UserError naming the file, the line where there is one, and what to do.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer_config.h"

namespace strata::data {

struct TokenizerFiles {
    std::vector<std::string> tokens;  // in the order of their ids
    TokenizerConfig config;
    std::filesystem::path source;  // where the tokens were
};

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace strata::data
