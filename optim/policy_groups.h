// Each policy's own arithmetic; make_groups (policy.h) chooses among them and checks what they give.
#pragma once

#include "optim/policy.h"

#include <vector>

namespace strata::optim {

// By the parts of a transformer: policy_layers.cpp.
std::vector<GroupDraft> two_part_groups(const Manifest& manifest, const PolicyConfig& config);
std::vector<GroupDraft> part_groups(const Manifest& manifest, const PolicyConfig& config);
std::vector<GroupDraft> layer_decay_groups(const Manifest& manifest, const PolicyConfig& config);

// By the order of any model's parameters: policy_runs.cpp.
std::vector<GroupDraft> parameter_decay_groups(const Manifest& manifest, double decay);
std::vector<GroupDraft> prefix_decay_groups(const Manifest& manifest, double decay, std::size_t depth);

/// Runs of neighbours that share their first `depth` components, in registration order, multiplier 1. A run is named by
/// what it shares; the second of a name is `name_2`.
std::vector<GroupDraft> prefix_runs(const Manifest& manifest, std::size_t depth);

/// By hand: policy_rules.cpp. Throws UserError for a rule or pattern that claims nothing, a parameter that two rules or
/// none claim, two rules of one name, and multipliers below 0.
std::vector<GroupDraft> rule_groups(const Manifest& manifest, const std::vector<GroupRule>& rules);

}  // namespace strata::optim
