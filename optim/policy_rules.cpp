#include "core/error.h"
#include "core/nearest.h"
#include "optim/name_components.h"
#include "optim/pattern.h"
#include "optim/policy_groups.h"

#include <fmt/format.h>

#include <cmath>
#include <unordered_map>

namespace strata::optim {

namespace {

/// Who claimed a parameter, for the message when another rule does too.
struct Claim {
    const GroupRule* rule = nullptr;
    std::string pattern;
};

std::string five_nearest(const std::string& name, const std::vector<std::string>& names,
                         const std::vector<Claim>& claims) {
    std::vector<std::string> others;
    std::unordered_map<std::string_view, std::string_view> owner;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) continue;
        others.push_back(names[i]);
        if (claims[i].rule != nullptr) owner.emplace(names[i], claims[i].rule->name);
    }
    std::vector<std::string> nearest = nearest_names(name, others);
    for (std::string& each : nearest) {
        const auto found = owner.find(each);
        each += found == owner.end() ? std::string(" (no group)") : fmt::format(" ({})", found->second);
    }
    return join(nearest, ", ");
}

void check_rules(const std::vector<GroupRule>& rules) {
    if (rules.empty()) {
        user_error(
            "Policy 'rules' has no groups. Give each a name, patterns and a multiplier: name = \"backbone\", "
            "match = [\"bert.**\"], multiplier = 0.1.");
    }
    std::unordered_map<std::string_view, std::size_t> number;
    for (std::size_t r = 0; r < rules.size(); ++r) {
        check_name(rules[r].name, "Group");
        const auto [before, is_new] = number.emplace(rules[r].name, r + 1);
        if (!is_new) {
            user_error("Two groups are named '{}' (numbers {} and {}). One group takes any number of patterns.",
                       rules[r].name, before->second, r + 1);
        }
        if (!(rules[r].multiplier >= 0.0 && std::isfinite(rules[r].multiplier))) {
            user_error("Group '{}': multiplier {} must be 0 or more; 0 freezes the group.", rules[r].name,
                       rules[r].multiplier);
        }
    }
}

Pattern compile(const std::string& text, const GroupRule& rule) {
    try {
        return Pattern(text);
    } catch (const UserError& error) {
        user_error("Group '{}': {}", rule.name, error.what());
    }
}

void claim(const Pattern& pattern, const GroupRule& rule, const std::vector<std::string>& names,
           std::vector<Claim>& claims) {
    bool matches = false;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (!pattern.matches(names[i])) continue;
        matches = true;
        if (claims[i].rule != nullptr && claims[i].rule != &rule) {
            user_error("Two groups claim '{}': '{}' by '{}' and '{}' by '{}'. Make one of the patterns narrower.",
                       names[i], claims[i].rule->name, claims[i].pattern, rule.name, pattern.text());
        }
        claims[i] = {&rule, pattern.text()};
    }
    if (matches) return;
    user_error("Group '{}': the pattern '{}' matches no parameter. {}", rule.name, pattern.text(),
               pattern.advice(names));
}

}  // namespace

std::vector<GroupDraft> rule_groups(const Manifest& manifest, const std::vector<GroupRule>& rules) {
    check_rules(rules);
    std::vector<std::string> names;
    for (const Parameter& parameter : manifest) names.push_back(parameter.name);
    std::vector<Claim> claims(manifest.size());
    for (const GroupRule& rule : rules) {
        for (const std::string& text : rule.match) claim(compile(text, rule), rule, names, claims);
        if (rule.match.empty()) claim(compile(rule.name + ".**", rule), rule, names, claims);
    }
    std::vector<GroupDraft> groups;
    for (const GroupRule& rule : rules) groups.push_back({rule.name, rule.multiplier, {}, rule.overrides});
    for (std::size_t i = 0; i < manifest.size(); ++i) {
        if (claims[i].rule == nullptr) {
            user_error(
                "No group claims '{}'. Every parameter belongs to one: add a pattern, or a group with multiplier "
                "0 to keep it frozen. Nearest names: {}.",
                names[i], five_nearest(names[i], names, claims));
        }
        groups[static_cast<std::size_t>(claims[i].rule - rules.data())].parameters.push_back(i);
    }
    return groups;
}

}  // namespace strata::optim
