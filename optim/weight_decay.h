// Which parameters decay. Decay is an attribute of a segment inside its group, never a group of its own.
//
// No decay for biases (last name component "bias", "bias_*" or "*_bias"), for what lies in a normalisation layer (a
// component LayerNorm, layer_norm, *_layer_norm, ln_*, norm, norm1, *_norm, ...), and for what `no_decay` lists. For
// BERT this is the rule of Google's and Hugging Face's code alike; other models are why the reason is kept.
#pragma once

#include "optim/manifest.h"

#include <string>
#include <string_view>
#include <vector>

namespace strata::optim {

struct DecayDecision {
    bool decays;
    std::string reason;  // for people: "its last component is 'bias'"
};

/// `no_decay`: each entry is a run of whole name components, "classifier.weight" or "layer.1" (which is not layer.10).
DecayDecision decide_decay(const Parameter& parameter, const std::vector<std::string>& no_decay);

/// Throws UserError for an entry of `no_decay` that no parameter matches, naming the five nearest names.
void check_no_decay(const Manifest& manifest, const std::vector<std::string>& no_decay);

/// True for the components that normalisation layers go by: LayerNorm, layer_norm, sa_layer_norm, ln_1, norm2, ...
bool is_norm_component(std::string_view component);

}  // namespace strata::optim
