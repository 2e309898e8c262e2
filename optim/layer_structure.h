// Where each parameter of a transformer stands: embeddings, a numbered layer, the pooler, or the head; told from the
// names alone.
//
// The layers are the first parameters in registration order with a component `layer`, `layers`, `h` or `blocks`
// followed by a number: encoder.layer.N., layers.N., transformer.layer.N., h.N., blocks.N. The backbone is what shares
// the leading components that the layers have in common with the embeddings before them (`bert`). After the layers,
// what lies outside the backbone is the head; so is the backbone's final normalisation, as in BEiT and timm.
#pragma once

#include "optim/manifest.h"

#include <string_view>
#include <vector>

namespace strata::optim {

enum class Part { embeddings, layer, pooler, head };

struct Place {
    Part part = Part::head;
    int layer = -1;  // for Part::layer
};

struct LayerStructure {
    int layers = 0;
    std::vector<Place> places;  // one for each parameter of the manifest
};

/// True for a model with numbered layers and embeddings before them, which find_layers asks for.
bool has_layers(const Manifest& manifest);

/// Throws UserError for a model without recognisable layers or embeddings, for a gap in the layers' numbers, and for a
/// parameter that is in none of the parts, naming the nearest names. `policy` is for the message.
LayerStructure find_layers(const Manifest& manifest, std::string_view policy);

}  // namespace strata::optim
