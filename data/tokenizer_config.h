// The settings of a BERT tokenizer, under Hugging Face's names where it has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace strata::data {

/// A token that is found in the text itself, before any word is cut: "[MASK]", or one a user added.
struct AddedToken {
    std::string content;
    bool special = false;
    bool normalized = false;   // look for it in the normalised text, not in the raw text
    bool single_word = false;  // only where no letter, digit or underscore stands next to it
    bool strip_left = false;   // take the spaces before it along
    bool strip_right = false;  // take the spaces after it along
    bool implied = false;      // named by no file: without an entry in the vocabulary there is no such token
};

struct TokenizerConfig {
    bool clean_text = true;
    bool do_lower_case = true;
    std::optional<bool> strip_accents;  // empty: follows do_lower_case
    bool tokenize_chinese_chars = true;
    std::int64_t max_input_chars_per_word = 100;  // a longer word is [UNK]
    std::string continuing_prefix = "##";
    std::string unk_token = "[UNK]";
    std::string cls_token = "[CLS]";
    std::string sep_token = "[SEP]";
    std::string pad_token = "[PAD]";    // empty: none
    std::string mask_token = "[MASK]";  // empty: none
    // Those the vocabulary lacks get ids after it, in this order.
    std::vector<AddedToken> added_tokens = {implied("[UNK]"), implied("[SEP]"), implied("[PAD]"), implied("[CLS]"),
                                            implied("[MASK]")};
    bool split_special_tokens = false;             // special tokens in the text are ordinary text
    bool truncate_left = false;                    // drop a long text's beginning rather than its end
    std::optional<std::int64_t> model_max_length;  // empty where the file has none or the sentinel 1e30

    static AddedToken implied(std::string content) {
        AddedToken token;
        token.content = std::move(content);
        token.special = token.implied = true;
        return token;
    }
};

}  // namespace strata::data
