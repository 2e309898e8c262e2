// Times the bf16 products of a linear layer, forward and both gradients, by each kernel that the processor runs and by
// LibTorch (oneDNN).
//
//   OMP_NUM_THREADS=T product_speed HIDDEN INTERMEDIATE TOKENS ROUNDS
//
// Prints GFLOP/s, the median over rounds with least and most. In a round all take their turns at a number of tokens
// that no round had before, up to a twentieth more than TOKENS: packed batches seldom have the same number twice, and
// oneDNN generates code for each.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/packed_product.h"
#include "models/tile_products.h"
#include "models/vector_products.h"

namespace strata::models {
namespace {

/// What a layer is given and makes: x [T, in], weight [out, in], grad [T, out], and the weight's gradient.
struct Layer {
    Layer(std::int64_t tokens, std::int64_t in, std::int64_t out)
        : x(torch::randn({tokens, in}, torch::kBFloat16)),
          weight(torch::randn({out, in}, torch::kBFloat16)),
          grad(torch::randn({tokens, out}, torch::kBFloat16)),
          sum(torch::zeros({out, in}, torch::kBFloat16)) {}
    double flops() const { return 6.0 * static_cast<double>(x.size(0) * weight.numel()); }
    torch::Tensor x, weight, grad, sum;
};

struct Peer {
    std::string name;
    std::function<void(const Layer&)> run;
};

std::vector<Peer> peers() {
    std::vector<Peer> all;
    const auto add = [&](const char* name, const ProductKernel* kernel) {
        if (kernel == nullptr) return;
        all.push_back({name, [kernel](const Layer& layer) {
                           forward_product(layer.x, layer.weight, {}, kernel);
                           input_product({layer.grad}, {layer.weight}, kernel);
                           weight_product_into(layer.sum, /*adds=*/false, layer.grad, layer.x, kernel);
                       }});
    };
    add("TDPBF16PS", tile_products());
    add("VDPBF16PS", vector_products());
    all.push_back({"LibTorch", [](const Layer& layer) {
                       torch::linear(layer.x, layer.weight);
                       layer.grad.mm(layer.weight);
                       torch::Tensor sum = layer.sum;
                       torch::mm_out(sum, layer.grad.t(), layer.x);
                   }});
    return all;
}

double gigaflops(const Peer& peer, const std::vector<Layer>& layers) {
    double flops = 0;
    const auto began = std::chrono::steady_clock::now();
    for (const Layer& layer : layers) {
        peer.run(layer);
        flops += layer.flops();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    return flops / took.count() / 1e9;
}

void compare(std::int64_t hidden, std::int64_t intermediate, std::int64_t tokens, int rounds) {
    const torch::InferenceMode no_gradients;
    const std::vector<Peer> all = peers();
    std::vector<std::vector<double>> speeds(all.size());
    for (int round = 0; round <= rounds; ++round) {  // the first is not counted
        const std::int64_t now = tokens + tokens * round / (20 * (rounds + 1));
        const std::vector<Layer> layers = {
            {now, hidden, hidden}, {now, hidden, intermediate}, {now, intermediate, hidden}};
        for (std::size_t i = 0; i < all.size(); ++i) {
            const double speed = gigaflops(all[i], layers);
            if (round > 0) speeds[i].push_back(speed);
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::vector<double>& each = speeds[i];
        std::sort(each.begin(), each.end());
        fmt::print("{:10} {:6.0f} GFLOP/s ({:.0f} to {:.0f})\n", all[i].name, each[each.size() / 2], each.front(),
                   each.back());
    }
}

}  // namespace
}  // namespace strata::models

int main(int argc, char** argv) try {
    if (argc != 5) strata::user_error("usage: product_speed HIDDEN INTERMEDIATE TOKENS ROUNDS");
    strata::models::compare(std::stoll(argv[1]), std::stoll(argv[2]), std::stoll(argv[3]), std::stoi(argv[4]));
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
