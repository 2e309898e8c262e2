// tokenizer_dump FOLDER < cases.jsonl: a line of JSON {"a": text, "b": text or absent, "max": length} in, a line of
// JSON
// {"ids": [...], "types": [...]} out. compare_tokenizer.py compares them with the Python library's.
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data/wordpiece.h"

int main(int argc, char** argv) try {
    if (argc != 2) {
        std::cerr << "usage: tokenizer_dump FOLDER < cases.jsonl\n";
        return 2;
    }
    const auto tokenizer = strata::data::WordPieceTokenizer::from_folder(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
        const auto input = nlohmann::json::parse(line);
        const auto a = input.at("a").get<std::string>();
        const auto b = input.contains("b") ? std::optional(input["b"].get<std::string>()) : std::nullopt;
        const auto encoding = tokenizer.encode(a, b, input.value("max", std::int64_t{1} << 30));
        std::cout << nlohmann::json{{"ids", encoding.ids}, {"types", encoding.token_types}}.dump() << '\n';
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
