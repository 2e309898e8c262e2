// The manifests of the models that people learn layer-wise rates from, as their libraries register them.
#pragma once

#include "optim/manifest.h"

#include <fmt/format.h>

#include <string>
#include <vector>

namespace strata::optim::testing {

inline Manifest vectors(const std::vector<std::string>& names) {
    Manifest manifest;
    for (const std::string& name : names) manifest.push_back({name, {4}});
    return manifest;
}

/// timm's and torchvision's ResNet-18: 62 tensors. conv1, bn1, layer1 to layer4, fc.
inline Manifest resnet18_manifest(std::int64_t classes = 2) {
    Manifest manifest;
    const auto conv = [&](const std::string& name, std::int64_t out, std::int64_t in, std::int64_t kernel) {
        manifest.push_back({name + ".weight", {out, in, kernel, kernel}});
    };
    const auto norm = [&](const std::string& name, std::int64_t channels) {
        manifest.push_back({name + ".weight", {channels}});
        manifest.push_back({name + ".bias", {channels}});
    };
    conv("conv1", 64, 3, 7);
    norm("bn1", 64);
    std::int64_t in = 64;
    for (int layer = 1; layer <= 4; ++layer) {
        const std::int64_t out = std::int64_t{32} << layer;
        for (int block = 0; block < 2; ++block) {
            const std::string name = fmt::format("layer{}.{}.", layer, block);
            conv(name + "conv1", out, in, 3);
            norm(name + "bn1", out);
            conv(name + "conv2", out, out, 3);
            norm(name + "bn2", out);
            if (in != out) {
                conv(name + "downsample.0", out, in, 1);
                norm(name + "downsample.1", out);
            }
            in = out;
        }
    }
    manifest.push_back({"fc.weight", {classes, 512}});
    manifest.push_back({"fc.bias", {classes}});
    return manifest;
}

/// Embedding, two GRU layers in one torch.nn.GRU, a linear head.
inline Manifest gru_manifest() {
    Manifest manifest{{"embedding.weight", {1000, 64}}};
    for (int layer = 0; layer < 2; ++layer) {
        const std::string suffix = fmt::format("_l{}", layer);
        manifest.push_back({"gru.weight_ih" + suffix, {384, layer == 0 ? 64 : 128}});
        manifest.push_back({"gru.weight_hh" + suffix, {384, 128}});
        manifest.push_back({"gru.bias_ih" + suffix, {384}});
        manifest.push_back({"gru.bias_hh" + suffix, {384}});
    }
    manifest.push_back({"fc.weight", {6, 128}});
    manifest.push_back({"fc.bias", {6}});
    return manifest;
}

/// part1 = Linear(10, 5), part2 = Linear(5, 2).
inline Manifest sample_manifest() {
    return {{"part1.weight", {5, 10}}, {"part1.bias", {5}}, {"part2.weight", {2, 5}}, {"part2.bias", {2}}};
}

}  // namespace strata::optim::testing
