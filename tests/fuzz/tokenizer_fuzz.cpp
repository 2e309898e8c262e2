// The files of a tokenizer, each wrong in turn beside good ones, and texts to tokenize, whose ids must be those of
// WordPiece's definition.
#include "data/utf8.h"
#include "data/wordpiece.h"
#include "tests/data/greedy_wordpiece.h"
#include "tests/fuzz/scratch.h"

namespace {

constexpr const char* vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\nun\n##able\n!\n中\n";
constexpr const char* sample = "an unable [MASK] Ünicode\t中文! \xf0\x9f\x98\x80";

void encode(const strata::data::WordPieceTokenizer& tokenizer, std::string_view text) {
    for (const std::int32_t id : tokenizer.encode(text, text, 16).ids) {
        STRATA_CHECK(id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocab_size(), "id {} is none", id);
        tokenizer.token(id);
    }
}

void compare_with_definition(std::string_view text) {
    using namespace strata::data;
    if (find_invalid_utf8(text)) return;
    const std::vector<std::string> tokens = {"[UNK]", "[CLS]", "[SEP]", "a",  "b",    "un",   "##a",
                                             "##b",   "##ab",  "##bab", "##", "able", "##中", "!"};
    TokenizerConfig config;
    config.added_tokens.clear();
    static const WordPieceTokenizer tokenizer(tokens, config, "fuzz");
    static const GreedyWordPiece definition(tokens, config);
    STRATA_CHECK(tokenizer.tokenize(text) == definition.tokenize(text), "other ids than the definition's");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    static const char* const files[] = {
        "vocab.txt",         "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "config.json"};
    std::string_view input = fuzz::text_of(bytes, size);
    const std::size_t choice = fuzz::take_choice(input, std::size(files) + 1);
    for (const char* name : files) std::filesystem::remove(fuzz::scratch().path() / name);
    fuzz::scratch().write("vocab.txt", vocabulary);
    if (choice < std::size(files)) fuzz::scratch().write(files[choice], std::string(input));
    fuzz::allow_refusal([&] {
        const auto tokenizer = data::WordPieceTokenizer::from_folder(fuzz::scratch().path());
        encode(tokenizer, sample);
        if (choice == std::size(files)) encode(tokenizer, input);
        compare_with_definition(input);
    });
    return 0;
}
