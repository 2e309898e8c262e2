// What a model learns to say: a list of classes, or one number.
//
// Names are ordered as Hugging Face's run_glue.py orders them: the sorted distinct labels of the training file,
// integers by value, anything else by byte. Numbers of which at least one is not an integer make a regression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace strata::data {

struct LabelSet {
    bool regression = false;
    std::vector<std::string> names;  // class i is names[i]; empty for regression

    /// Outputs of the head: one for regression.
    std::int64_t outputs() const { return regression ? 1 : static_cast<std::int64_t>(names.size()); }
    bool operator==(const LabelSet&) const = default;
};

/// A label as written in the training file, with its place for messages.
struct WrittenLabel {
    std::string_view text;  // trimmed
    std::size_t line = 0;
};

/// The labels that a custom training file defines. `regression` decides where the user said so.
/// Throws UserError: no label, an empty label, one class only, a word among fractional numbers, or nearly as many
/// classes as rows (the label column is then surely text).
LabelSet infer_labels(const std::filesystem::path& path, const std::vector<WrittenLabel>& labels,
                      std::optional<bool> regression = std::nullopt);

/// True if the first label occurs nowhere else while all others occur at least twice: perhaps it is a header's name.
bool first_label_is_odd(const std::vector<WrittenLabel>& labels);

/// Turns written labels into class indexes or values.
///
/// A class is found by its name; else, for a number without fraction ("01", "1.0"), by the name of that integer. Where
/// all names are the placeholders LABEL_0, LABEL_1, … that transformers writes when it was told none, the names count
/// in the task's own order, and so do integers.
class LabelReader {
  public:
    /// `own_order`: the task's class names; `hub_order`: what the integers in files exported from the hub mean. Both
    /// are empty for custom data.
    explicit LabelReader(LabelSet labels, const std::vector<std::string>& own_order = {},
                         const std::vector<std::string>& hub_order = {});

    /// Class index or value; nothing if the label is unknown or, for regression, not a finite number.
    std::optional<double> find(std::string_view text) const;
    /// Throws UserError "place: label … was never seen in training; the model's labels are …", and what else may be
    /// done.
    [[noreturn]] void reject(std::string_view text, const std::string& place, std::string_view remedy = "") const;

    const LabelSet& labels() const { return labels_; }

  private:
    LabelSet labels_;
    std::unordered_map<std::string, std::size_t> indexes_;
};

/// The finite decimal number that the text, and nothing else, spells ("-1.5", "+3", "1e-3").
std::optional<double> parse_number(std::string_view text);
std::optional<std::int64_t> parse_integer(std::string_view text);
std::string_view trimmed(std::string_view text);

}  // namespace strata::data
