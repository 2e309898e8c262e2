// strata tokenize: the ids of each input line, one line each; what other tools' ids are compared with.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>

#include "apps/strata/commands.h"
#include "core/error.h"
#include "data/table.h"
#include "data/utf8.h"
#include "data/wordpiece.h"

namespace strata::app {
namespace {

/// A line's text in UTF-8. Throws UserError naming line and byte.
std::string line_text(std::string line, data::TextEncoding encoding, const std::string& file, std::int64_t number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (encoding == data::TextEncoding::latin1) return data::latin1_to_utf8(line);
    if (const auto byte = data::find_invalid_utf8(line)) {
        user_error("{}:{}: byte {} is not valid UTF-8; if the file is Latin-1, say --encoding latin1", file, number,
                   *byte + 1);
    }
    return line;
}

void print_ids(const std::vector<std::int32_t>& ids, std::string& out) {
    for (std::size_t i = 0; i < ids.size(); ++i) out += (i > 0 ? " " : "") + std::to_string(ids[i]);
    out += '\n';
}

}  // namespace

int run_tokenize(const Config& config) {
    if (config.model_name_or_path.empty())
        user_error("--model_name_or_path is missing: name the folder that holds vocab.txt");
    if (config.input.empty()) user_error("--input is missing: name a text file, or - for standard input");
    const auto tokenizer = data::WordPieceTokenizer::from_folder(config.model_name_or_path);
    const auto encoding = data::parse_encoding(config.encoding);
    const std::int64_t limit = config.max_seq_length.value_or(std::numeric_limits<std::int64_t>::max());
    std::ifstream file;
    if (config.input != "-") {
        file.open(config.input, std::ios::binary);
        if (!file) user_error("{}: cannot be read", config.input);
    }
    std::istream& in = config.input == "-" ? std::cin : file;
    std::string out;
    std::int64_t number = 0;
    for (std::string line; std::getline(in, line);) {
        const std::string text = line_text(std::move(line), encoding, config.input, ++number);
        print_ids(tokenizer.encode(text, std::nullopt, limit).ids, out);
        if (out.size() > 1 << 16) {
            std::fwrite(out.data(), 1, out.size(), stdout);
            out.clear();
        }
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
    return exit_done;
}

}  // namespace strata::app
