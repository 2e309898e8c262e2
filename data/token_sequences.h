// The token ids of many inputs, end to end: what texts are once they are tokenized, in memory or in a file's map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace strata::data {

struct Example;
class WordPieceTokenizer;

/// One input's tokens; a view.
struct TokenSequence {
    std::span<const std::int32_t> ids;
    std::size_t first_tokens = 0;  // those of type 0: [CLS] a [SEP]; the rest, b [SEP], are of type 1
};

/// Views of N inputs.
struct TokenSequencesView {
    std::span<const std::int32_t> ids;           // T, of all inputs
    std::span<const std::int64_t> offsets;       // N + 1: input i has ids[offsets[i]] … ids[offsets[i + 1] - 1]
    std::span<const std::int32_t> first_tokens;  // N

    std::size_t size() const { return first_tokens.size(); }
    TokenSequence operator[](std::size_t input) const {
        const auto begin = static_cast<std::size_t>(offsets[input]);
        const auto end = static_cast<std::size_t>(offsets[input + 1]);
        return {ids.subspan(begin, end - begin), static_cast<std::size_t>(first_tokens[input])};
    }
};

struct TokenSequences {
    std::vector<std::int32_t> ids;
    std::vector<std::int64_t> offsets{0};
    std::vector<std::int32_t> first_tokens;

    /// Ends the input whose ids have been appended.
    void end_input(std::size_t first) {
        offsets.push_back(static_cast<std::int64_t>(ids.size()));
        first_tokens.push_back(static_cast<std::int32_t>(first));
    }
    operator TokenSequencesView() const { return {ids, offsets, first_tokens}; }
};

/// Tokenizes every example, on so many threads; each is cut to `max_seq_length` tokens. The result does not depend on
/// the threads. Errors are those of WordPieceTokenizer::encode, of the first example that has one.
TokenSequences tokenize_all(const WordPieceTokenizer& tokenizer, std::span<const Example> examples,
                            std::int64_t max_seq_length, int threads);

}  // namespace strata::data
