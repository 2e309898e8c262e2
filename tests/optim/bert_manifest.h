// The manifests of BERT classifiers as transformers registers them.
#pragma once

#include "optim/manifest.h"

#include <fmt/format.h>

#include <string>

namespace strata::optim::testing {

struct BertShape {
    int layers = 12;
    std::int64_t hidden = 768;
    std::int64_t intermediate = 3072;
    std::int64_t vocabulary = 30522;
    std::int64_t labels = 2;
};

inline Manifest bert_manifest(const BertShape& shape, const std::string& prefix = "bert.") {
    Manifest manifest;
    const auto dense = [&](const std::string& name, std::int64_t out, std::int64_t in) {
        manifest.push_back({name + ".weight", {out, in}});
        manifest.push_back({name + ".bias", {out}});
    };
    const auto norm = [&](const std::string& name) {
        manifest.push_back({name + ".weight", {shape.hidden}});
        manifest.push_back({name + ".bias", {shape.hidden}});
    };
    const std::string embeddings = prefix + "embeddings.";
    manifest.push_back({embeddings + "word_embeddings.weight", {shape.vocabulary, shape.hidden}});
    manifest.push_back({embeddings + "position_embeddings.weight", {512, shape.hidden}});
    manifest.push_back({embeddings + "token_type_embeddings.weight", {2, shape.hidden}});
    norm(embeddings + "LayerNorm");
    for (int i = 0; i < shape.layers; ++i) {
        const std::string layer = fmt::format("{}encoder.layer.{}.", prefix, i);
        for (const char* name : {"query", "key", "value"}) {
            dense(layer + "attention.self." + name, shape.hidden, shape.hidden);
        }
        dense(layer + "attention.output.dense", shape.hidden, shape.hidden);
        norm(layer + "attention.output.LayerNorm");
        dense(layer + "intermediate.dense", shape.intermediate, shape.hidden);
        dense(layer + "output.dense", shape.hidden, shape.intermediate);
        norm(layer + "output.LayerNorm");
    }
    dense(prefix + "pooler.dense", shape.hidden, shape.hidden);
    dense("classifier", shape.labels, shape.hidden);
    return manifest;
}

/// The text of the UserError that `call` throws; empty when it throws none.
template <typename Error, typename Call>
std::string message_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

}  // namespace strata::optim::testing
