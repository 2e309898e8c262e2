// Tokenizes a file's lines over and over, for bench/tokenizer_vs_rust.py.
//
//   tokenizer_speed MODEL_FOLDER TEXT_FILE THREADS IDS_FILE
//
// Writes the ids of every line to IDS_FILE (32-bit numbers, [CLS] and [SEP] with each). Then, for every line read from
// standard input, tokenizes once more and prints the seconds it took and the number of ids.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>

#include "core/error.h"
#include "data/dataset.h"
#include "data/token_sequences.h"
#include "data/wordpiece.h"

int main(int argc, char** argv) try {
    using namespace strata;
    if (argc != 5) user_error("usage: tokenizer_speed MODEL_FOLDER TEXT_FILE THREADS IDS_FILE");
    const auto tokenizer = data::WordPieceTokenizer::from_folder(argv[1]);
    std::vector<data::Example> examples;
    std::ifstream text(argv[2], std::ios::binary);
    for (std::string line; std::getline(text, line);) examples.push_back({line, std::nullopt, 0});
    const auto tokenize = [&] {
        return data::tokenize_all(tokenizer, examples, std::numeric_limits<std::int64_t>::max(), std::stoi(argv[3]));
    };
    {
        const auto tokens = tokenize();
        std::ofstream(argv[4], std::ios::binary)
            .write(reinterpret_cast<const char*>(tokens.ids.data()),
                   static_cast<std::streamsize>(tokens.ids.size() * sizeof(std::int32_t)));
    }
    fmt::print("ready\n");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        const auto begin = std::chrono::steady_clock::now();
        const auto tokens = tokenize();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        fmt::print("{} {}\n", took.count(), tokens.ids.size());
        std::fflush(stdout);
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
