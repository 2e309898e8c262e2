#include "data/vocabulary_file.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "data/code_points.h"
#include "data/utf8.h"

namespace strata::data {
namespace {

constexpr std::int64_t largest_id = 1 << 24;  // far beyond any vocabulary: a file that says more is damaged

std::string_view without_trailing_space(std::string_view line) {
    while (!line.empty()) {
        const CodePoint last = last_code_point(line);
        if (!u_hasBinaryProperty(last.value, UCHAR_WHITE_SPACE)) break;
        line.remove_suffix(last.bytes);
    }
    return line;
}

}  // namespace

std::vector<std::string> read_vocabulary_file(const std::filesystem::path& path) {
    const std::string content = read_file(path);
    std::vector<std::string> tokens;
    for (std::size_t begin = 0; begin < content.size();) {
        const std::size_t end = std::min(content.find('\n', begin), content.size());
        const std::string_view line = std::string_view(content).substr(begin, end - begin);
        if (const auto byte = find_invalid_utf8(line)) {
            user_error("{}:{}: byte {} is not valid UTF-8; a vocabulary is a UTF-8 text with one token a line",
                       path.string(), tokens.size() + 1, *byte + 1);
        }
        tokens.emplace_back(without_trailing_space(line));
        begin = end + 1;
    }
    return tokens;
}

std::vector<std::string> tokens_of_list(const nlohmann::ordered_json& list, const std::filesystem::path& path) {
    std::vector<std::string> tokens;
    for (const auto& token : list) {
        if (!token.is_string()) user_error("{}: the vocabulary's entries must be strings", path.string());
        tokens.push_back(token.get<std::string>());
    }
    return tokens;
}

void TokensById::add(const std::string& token, const nlohmann::ordered_json& value) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > largest_id) {
        user_error("{}: the id of the token '{}' is {}; ids are whole numbers from 0 to {}", path_.string(), token,
                   value.dump(), largest_id);
    }
    const auto id = value.get<std::size_t>();
    if (id >= tokens_.size()) {
        tokens_.resize(id + 1);
        taken_.resize(id + 1);
    }
    if (taken_[id]) {
        user_error("{}: the tokens '{}' and '{}' both have the id {}", path_.string(), tokens_[id], token, id);
    }
    taken_[id] = true;
    tokens_[id] = token;
}

}  // namespace strata::data
