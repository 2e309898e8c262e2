#include "data/token_sequences.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "data/dataset.h"
#include "data/wordpiece.h"

namespace strata::data {
namespace {

constexpr std::size_t share = 1024;  // examples that a thread takes at once

void tokenize_share(const WordPieceTokenizer& tokenizer, std::span<const Example> examples, std::int64_t max_seq_length,
                    TokenSequences& out) {
    std::size_t bytes = 0;
    for (const auto& example : examples) bytes += example.text_a.size() + (example.text_b ? example.text_b->size() : 0);
    out.ids.reserve(bytes / 3 + 3 * examples.size());
    out.offsets.reserve(examples.size() + 1);
    out.first_tokens.reserve(examples.size());
    for (const auto& example : examples) {
        const auto pair = example.text_b ? std::optional<std::string_view>(*example.text_b) : std::nullopt;
        out.end_input(tokenizer.append(example.text_a, pair, max_seq_length, out.ids));
    }
}

void append(const TokenSequences& part, TokenSequences& all) {
    const std::int64_t before = all.offsets.back();
    all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
    all.first_tokens.insert(all.first_tokens.end(), part.first_tokens.begin(), part.first_tokens.end());
    for (std::size_t i = 1; i < part.offsets.size(); ++i) all.offsets.push_back(before + part.offsets[i]);
}

TokenSequences joined(const std::vector<TokenSequences>& parts) {
    std::size_t tokens = 0;
    std::size_t inputs = 0;
    for (const auto& part : parts) {
        tokens += part.ids.size();
        inputs += part.first_tokens.size();
    }
    TokenSequences all;
    all.ids.reserve(tokens);
    all.first_tokens.reserve(inputs);
    all.offsets.reserve(inputs + 1);
    for (const auto& part : parts) append(part, all);
    return all;
}

}  // namespace

TokenSequences tokenize_all(const WordPieceTokenizer& tokenizer, std::span<const Example> examples,
                            std::int64_t max_seq_length, int threads) {
    const std::size_t shares = (examples.size() + share - 1) / share;
    std::vector<TokenSequences> parts(shares);
    std::vector<std::exception_ptr> errors(shares);
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t i = next++; i < shares; i = next++) {
            try {
                const auto mine = examples.subspan(i * share, std::min(share, examples.size() - i * share));
                tokenize_share(tokenizer, mine, max_seq_length, parts[i]);
            } catch (...) {
                errors[i] = std::current_exception();
            }
        }
    };
    std::vector<std::jthread> others;
    const std::size_t workers = std::min(static_cast<std::size_t>(std::max(threads, 1)), shares);
    for (std::size_t i = 1; i < workers; ++i) others.emplace_back(work);
    work();
    others.clear();  // joins
    for (const auto& error : errors) {
        if (error) std::rethrow_exception(error);
    }
    return shares == 1 ? std::move(parts.front()) : joined(parts);
}

}  // namespace strata::data
