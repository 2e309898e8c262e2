// Patterns over dotted names: parameters ("bert.encoder.layer.1.output.dense.weight") and groups ("layer_1").
//
// A pattern is anchored at both ends; it matches whole names only, so `layer.1.**` never matches `layer.10.x`.
//   glob      `*` stands for any characters within one component, `**`, alone between dots, for any number of whole
//             components, none included: `bert.**` matches everything under bert, `**.bias` every bias.
//   re:REGEX  an ECMAScript regular expression for the whole name, dots and all.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

class Pattern {
  public:
    /// Throws UserError for an empty pattern or component, for `**` beside other characters, and for a regular
    /// expression that is none.
    explicit Pattern(std::string text);

    bool matches(std::string_view name) const;
    const std::string& text() const { return text_; }

    /// For a pattern that matches none of `names`: the five nearest, cut to the pattern's depth when it ends in `**`,
    /// and what the user may have meant. "Nearest names: a, b, c. For all that lies under 'fc', write 'fc.**'."
    std::string advice(const std::vector<std::string>& names) const;

  private:
    std::string text_;
    std::vector<std::string> components_;  // of a glob
    std::optional<std::regex> regex_;
};

}  // namespace strata::optim
