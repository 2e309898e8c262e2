#include "optim/name_components.h"
#include "optim/policy_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

namespace strata::optim {

namespace {

/// d^k, k = 0 at the last group.
void decay_backwards(std::vector<GroupDraft>& groups, double decay) {
    for (std::size_t g = 0; g < groups.size(); ++g) groups[g].multiplier = power(decay, groups.size() - 1 - g);
}

}  // namespace

std::vector<GroupDraft> parameter_decay_groups(const Manifest& manifest, double decay) {
    std::vector<GroupDraft> groups;
    for (std::size_t i = 0; i < manifest.size(); ++i) groups.push_back({manifest[i].name, 1.0, {i}});
    decay_backwards(groups, decay);
    return groups;
}

std::vector<GroupDraft> prefix_decay_groups(const Manifest& manifest, double decay, std::size_t depth) {
    std::vector<GroupDraft> groups = prefix_runs(manifest, depth);
    decay_backwards(groups, decay);
    return groups;
}

std::vector<GroupDraft> prefix_runs(const Manifest& manifest, std::size_t depth) {
    std::vector<GroupDraft> groups;
    std::set<std::string> prefixes;
    for (const Parameter& parameter : manifest) {
        auto components = split_components(parameter.name);
        components.resize(std::min(components.size(), depth));
        prefixes.insert(join(components, "."));
    }
    std::set<std::string> taken;
    std::string before;
    for (std::size_t i = 0; i < manifest.size(); ++i) {
        auto components = split_components(manifest[i].name);
        components.resize(std::min(components.size(), depth));
        const std::string prefix = join(components, ".");
        if (i == 0 || prefix != before) {
            std::string name = prefix;
            // A prefix that comes back after another is a run of its own; its name must not be some other run's.
            for (int n = 2; taken.contains(name) || (n > 2 && prefixes.contains(name)); ++n) {
                name = fmt::format("{}_{}", prefix, n);
            }
            taken.insert(name);
            groups.push_back({name, 1.0});
        }
        groups.back().parameters.push_back(i);
        before = prefix;
    }
    return groups;
}

}  // namespace strata::optim
