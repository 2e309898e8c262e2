// Policies: how the parameters of a model fall into groups, and each group's multiplier of the learning rate.
//
//   single       one group `all`, multiplier 1
//   two-part     `backbone` at backbone_multiplier (0 freezes it), `head` at 1
//   layer-decay  `embeddings` d^(N+1), `layer_i` d^(N-i) for i = 0 ... N-1, `head` 1; under the ELECTRA convention
//                one power more for all but the head (google-research/electra, model/optimization.py, has a top layer
//                at d^2). ULMFiT (Howard and Ruder 2018), BEiT and timm have the plain form.
//
// The pooler goes with the head. With pooler_with_head = false it goes with the last encoder layer (in two-part: with
// the backbone), since nothing lies between them.
//
// Every parameter is in exactly one group, no group is empty. Errors are UserErrors that name the parameters involved
// and their five nearest names.
#pragma once

#include "optim/manifest.h"
#include "optim/weight_decay.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

enum class PolicyKind { single, two_part, layer_decay };

/// "single", "two-part", "layer-decay".
std::string_view policy_name(PolicyKind kind);

/// Dashes or underscores. Throws UserError for another name, with the nearest.
PolicyKind parse_policy_kind(std::string_view name);

struct PolicyConfig {
    PolicyKind kind = PolicyKind::single;
    double decay = 0.95;                     // layer-decay: in (0, 1]
    double backbone_multiplier = 0.1;        // two-part: 0 or more; 0 freezes
    bool electra = false;                    // layer-decay: ELECTRA's convention
    bool pooler_with_head = true;            // two-part and layer-decay
    std::vector<std::string> no_decay = {};  // more parameters that do not decay: runs of name components
};

struct GroupDraft {
    std::string name;
    double multiplier;
    std::vector<std::size_t> parameters;  // indexes into the manifest, ascending
};

/// The groups of `manifest` under `config`, input side first. Throws UserError for a manifest or configuration that
/// does not make sense, and for a model whose layers cannot be told from its names.
std::vector<GroupDraft> make_groups(const Manifest& manifest, const PolicyConfig& config);

}  // namespace strata::optim
