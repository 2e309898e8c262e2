#include "optim/pattern.h"

#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"

#include <algorithm>

namespace strata::optim {

namespace {

constexpr std::string_view regex_prefix = "re:";

/// Wildcards over any sequence: characters of a component, components of a name. On a mismatch only the last star
/// takes one element more, so the time is at most the product of the lengths.
template <typename Wanted, typename Given, typename IsStar, typename Equal>
bool match_stars(const Wanted& wanted, const Given& given, IsStar is_star, Equal equal) {
    constexpr auto none = static_cast<std::size_t>(-1);
    std::size_t w = 0;
    std::size_t star = none;
    std::size_t retry = 0;
    for (std::size_t g = 0; g < given.size();) {
        if (w < wanted.size() && is_star(wanted[w])) {
            star = w++;
            retry = g;
        } else if (w < wanted.size() && equal(wanted[w], given[g])) {
            ++w;
            ++g;
        } else if (star != none) {
            w = star + 1;
            g = ++retry;
        } else {
            return false;
        }
    }
    while (w < wanted.size() && is_star(wanted[w])) ++w;
    return w == wanted.size();
}

bool match_component(std::string_view wanted, std::string_view given) {
    return match_stars(
        wanted, given, [](char c) { return c == '*'; }, [](char a, char b) { return a == b; });
}

std::regex compile(const std::string& text) {
    try {
        return std::regex(text.substr(regex_prefix.size()), std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
        user_error("The pattern '{}' is not a regular expression: {}.", text, error.what());
    }
}

std::vector<std::string> glob_components(const std::string& text) {
    std::vector<std::string> components;
    for (const std::string_view component : split_components(text)) {
        if (component.empty()) {
            user_error("The pattern '{}' has an empty component; write whole components joined by single dots.", text);
        }
        if (component != "**" && component.find("**") != std::string_view::npos) {
            user_error("In the pattern '{}', '**' must stand alone between dots; within a component write '*'.", text);
        }
        components.emplace_back(component);
    }
    return components;
}

/// The first `depth` components of each name, each once.
std::vector<std::string> cut(const std::vector<std::string>& names, std::size_t depth) {
    std::vector<std::string> heads;
    for (const std::string& name : names) {
        auto components = split_components(name);
        components.resize(std::min(components.size(), depth));
        std::string head = join(components, ".");
        if (std::find(heads.begin(), heads.end(), head) == heads.end()) heads.push_back(std::move(head));
    }
    return heads;
}

}  // namespace

Pattern::Pattern(std::string text) : text_(std::move(text)) {
    if (text_.empty()) user_error("A pattern is empty; '**' matches every name.");
    if (text_.starts_with(regex_prefix)) {
        regex_ = compile(text_);
    } else {
        components_ = glob_components(text_);
    }
}

bool Pattern::matches(std::string_view name) const {
    if (regex_) {
        try {
            return std::regex_match(name.begin(), name.end(), *regex_);
        } catch (const std::regex_error& error) {
            user_error("The pattern '{}' is too complex for '{}': {}.", text_, name, error.what());
        }
    }
    return match_stars(
        components_, split_components(name), [](const std::string& wanted) { return wanted == "**"; }, match_component);
}

std::string Pattern::advice(const std::vector<std::string>& names) const {
    std::string wanted = text_;
    std::vector<std::string> candidates = names;
    if (regex_) {
        wanted.erase(0, regex_prefix.size());
    } else if (components_.size() > 1 && components_.back() == "**") {
        candidates = cut(names, components_.size() - 1);
        wanted.resize(wanted.size() - std::string_view(".**").size());
    }
    std::string out = fmt::format("Nearest names: {}.", join(nearest_names(wanted, candidates), ", "));
    if (regex_ || components_.back() == "**") return out;
    const Pattern below(text_ + ".**");
    if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return below.matches(name); })) {
        out += fmt::format(" For all that lies under '{}', write '{}'.", text_, below.text());
    }
    return out;
}

}  // namespace strata::optim
