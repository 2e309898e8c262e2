// Policies: how the parameters of a model fall into groups, and each group's multiplier of the learning rate.
// Groups are counted from the input side (0) to the head (n-1); N is the number of encoder layers, d the decay.
//
//   single           one group `all`, multiplier 1
//   two-part         `backbone` at backbone_multiplier (0 freezes it), `head` at 1
//   multipliers      `base`, `extra`, `head` at part_multipliers; or the rules below, when there are any
//   layer-decay      `embeddings` d^(N+1), `layer_i` d^(N-i) for i = 0 ... N-1, `head` 1; under the ELECTRA convention
//                    one power more for all but the head (google-research/electra, model/optimization.py, has a top
//                    layer at d^2). ULMFiT (Howard and Ruder 2018), BEiT and timm have the plain form.
//   parameter-decay  one group for each parameter tensor, named as it is: d^k, k = 0 at the last, counting back
//   prefix-decay     neighbours that share their first `depth` name components, named by them: d^k, k = 0 at the last
//   slice            the groups of `split` at low (high / low)^(g / (n-1)) / learning rate; without low, high / 10 for
//                    all groups but the last (rate_slice.h). A group whose multiplier is 0 stays frozen, but counts.
//   rules            explicit groups, in the order listed: list the input side first, since stages count from there
//
// two-part and multipliers tell backbone from head by the names of transformers (layer_structure.h). In any other model
// two-part's head is the last run of neighbours that share the first component in which not all names agree: `fc` of a
// ResNet. `base` is embeddings and layers, `head` what shares the last parameter's first component (`classifier`),
// `extra` all between: pooler, final norm, `pre_classifier`.
//
// The pooler goes with the head. With pooler_with_head = false it goes with the last encoder layer (in two-part: with
// the backbone), since nothing lies between them.
//
// Every parameter is in exactly one group, no group is empty, no two have one name. Errors are UserErrors that name the
// parameters involved and their five nearest names.
#pragma once

#include "optim/manifest.h"
#include "optim/optimizer.h"
#include "optim/rate_slice.h"
#include "optim/weight_decay.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

enum class PolicyKind { single, two_part, multipliers, layer_decay, parameter_decay, prefix_decay, slice, rules };

/// "single", "two-part", "multipliers", "layer-decay", "parameter-decay", "prefix-decay", "slice", "rules".
std::string_view policy_name(PolicyKind kind);

/// All names, in the order of the enumeration.
std::vector<std::string> policy_names();

/// Dashes or underscores. Throws UserError for another name, with the nearest.
PolicyKind parse_policy_kind(std::string_view name);

/// One group by hand. It claims the parameters that any of its patterns (pattern.h) matches; without patterns, all that
/// lie under its name (`layer1` claims `layer1.**`).
struct GroupRule {
    std::string name;
    std::vector<std::string> match = {};
    double multiplier = 1.0;  // 0 or more; 0 freezes
    OptimizerOverrides overrides = {};
};

struct PolicyConfig {
    PolicyKind kind = PolicyKind::single;
    double decay = 0.95;                                     // layer-, parameter- and prefix-decay: in (0, 1]
    double backbone_multiplier = 0.1;                        // two-part: 0 or more; 0 freezes
    bool electra = false;                                    // layer-decay: ELECTRA's convention
    bool pooler_with_head = true;                            // two-part and layer-decay
    std::vector<std::string> no_decay = {};                  // more parameters that do not decay: runs of components
    std::vector<double> part_multipliers = {0.1, 0.5, 1.0};  // multipliers: base, extra, head
    int depth = 1;                                           // prefix-decay: components, 1 or more
    PolicyKind split = PolicyKind::layer_decay;              // slice: the policy that makes its groups
    RateSlice slice = {};                                    // slice
    std::vector<GroupRule> rules = {};                       // rules and multipliers
};

struct GroupDraft {
    std::string name;
    double multiplier = 1.0;
    std::vector<std::size_t> parameters = {};  // indexes into the manifest, ascending
    OptimizerOverrides overrides = {};
};

/// The groups of `manifest` under `config`, input side first. `learning_rate` is what policy `slice` divides its rates
/// by. Throws UserError for a manifest or configuration that does not make sense, and for a model whose layers cannot
/// be told from its names.
std::vector<GroupDraft> make_groups(const Manifest& manifest, const PolicyConfig& config, double learning_rate = 1.0);

/// Throws UserError unless a group or a stage can go by this name: letters, digits, '_', '-' and '.' only, which need
/// no quoting in a table, a file or a pattern. `what` opens the message: "Group".
void check_name(std::string_view name, std::string_view what);

}  // namespace strata::optim
