// The fused operations of a transformer layer against ATen's operators in double precision.
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <array>
#include <cmath>
#include <functional>

#include "models/bias_activation.h"
#include "models/packed_embedding.h"
#include "models/packed_linear.h"
#include "models/residual_norm.h"
#include "tests/models/support.h"
#include "tests/models/tensors.h"

namespace strata::models {
namespace {

using testing::key;
using testing::layout_of;
using testing::random_tensor;

using Tensors = std::vector<torch::Tensor>;
using Function = std::function<torch::Tensor(const Tensors&)>;

/// The function's value and the gradients of all its inputs, for a fixed weighting of the outputs.
Tensors results(const Function& function, const Tensors& inputs, torch::ScalarType dtype) {
    Tensors leaves;
    for (const torch::Tensor& input : inputs) leaves.push_back(input.to(dtype).detach().clone().requires_grad_());
    const torch::Tensor out = function(leaves);
    const torch::Tensor weights = random_tensor(out.sizes(), 99).to(torch::kBFloat16).to(dtype);
    Tensors all = torch::autograd::grad({out}, leaves, {weights});
    all.insert(all.begin(), out.detach());
    return all;
}

/// Of the largest element.
double relative_difference(const torch::Tensor& got, const torch::Tensor& expected) {
    const torch::Tensor wanted = expected.to(torch::kFloat64);
    return (got.to(torch::kFloat64) - wanted).abs().max().item<double>() / (1e-30 + wanted.abs().max().item<double>());
}

/// Both types of the kernel, on inputs that bfloat16 holds exactly, against the definition in fp64.
void expect_definition(const Function& fused, const Function& definition, Tensors inputs, const std::string& what) {
    for (torch::Tensor& input : inputs) input = input.to(torch::kBFloat16).to(torch::kFloat32);
    const Tensors expected = results(definition, inputs, torch::kFloat64);
    for (const auto& [dtype, tolerance] : {std::pair{torch::kFloat32, 4e-6}, {torch::kBFloat16, 0.02}}) {
        const Tensors got = results(fused, inputs, dtype);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            EXPECT_EQ(got[i].scalar_type(), dtype);
            EXPECT_LT(relative_difference(got[i], expected[i]), tolerance)
                << what << ", " << (i == 0 ? "value" : "gradient of input " + std::to_string(i)) << ", "
                << torch::toString(dtype);
        }
    }
    // On other types the same call runs ATen's operators.
    const Tensors got = results(fused, inputs, torch::kFloat64);
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_LT(relative_difference(got[i], expected[i]), 1e-12) << what;
}

/// backward() adds to the gradients that are there, where they lie; a pass that hands gradients out leaves those alone.
void expect_added_in_place(const Function& fused, Tensors inputs, const std::string& what) {
    for (torch::Tensor& input : inputs) input = input.to(torch::kBFloat16).to(torch::kFloat32);
    const Tensors expected = results(fused, inputs, torch::kFloat64);
    for (const auto& [dtype, tolerance] : {std::pair{torch::kFloat32, 4e-6}, {torch::kBFloat16, 0.02}}) {
        Tensors leaves;
        for (const torch::Tensor& input : inputs) {
            leaves.push_back(input.to(dtype).clone().requires_grad_());
            leaves.back().mutable_grad() = torch::ones_like(leaves.back());
        }
        const torch::Tensor out = fused(leaves);
        const torch::Tensor weights = random_tensor(out.sizes(), 99).to(torch::kBFloat16).to(dtype);
        const Tensors handed = torch::autograd::grad({out}, leaves, {weights}, /*retain_graph=*/true);
        for (const torch::Tensor& leaf : leaves) EXPECT_TRUE(leaf.grad().eq(1).all().item<bool>()) << what;
        std::vector<const void*> places;
        for (const torch::Tensor& leaf : leaves) places.push_back(leaf.grad().const_data_ptr());
        out.backward(weights);
        for (std::size_t i = 0; i < leaves.size(); ++i) {
            const std::string which = what + ", gradient of input " + std::to_string(i) + ", " + torch::toString(dtype);
            EXPECT_EQ(leaves[i].grad().const_data_ptr(), places[i]) << which;
            EXPECT_LT(relative_difference(leaves[i].grad(), expected[i + 1] + 1.0), tolerance) << which;
            EXPECT_LT(relative_difference(handed[i], expected[i + 1]), tolerance) << which;
        }
    }
}

void expect_same_bits_on_threads(const Function& function, const Tensors& inputs,
                                 torch::ScalarType dtype = torch::kFloat32) {
    const int threads = torch::get_num_threads();
    torch::set_num_threads(1);
    const Tensors one = results(function, inputs, dtype);
    torch::set_num_threads(3);
    const Tensors three = results(function, inputs, dtype);
    torch::set_num_threads(threads);
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(torch::equal(one[i], three[i])) << i;
}

// ---- LayerNorm(residual + dropout(x + bias)) ----

Function fused_norm(const LayoutPointer& layout, const std::optional<DropoutSite>& site) {
    return [=](const Tensors& in) { return residual_norm(in[0], in[1], in[2], {in[3], in[4], 1e-5}, layout, site); };
}

Function plain_norm(const LayoutPointer& layout, const std::optional<DropoutSite>& site) {
    return [=](const Tensors& in) {
        torch::Tensor dropped = in[0] + in[1];
        if (site) dropped = dropped * dropout_factors(*layout, in[0].size(1), *site).to(in[0].options());
        return torch::layer_norm(in[2] + dropped, {in[0].size(1)}, in[3], in[4], 1e-5);
    };
}

Tensors norm_inputs(std::int64_t rows, std::int64_t width) {
    return {random_tensor({rows, width}, 1), random_tensor({width}, 2), random_tensor({rows, width}, 3),
            random_tensor({width}, 4) + 1.0, random_tensor({width}, 5)};
}

TEST(ResidualNorm, EqualsItsDefinition) {
    const auto layout = layout_of({3, 1, 70, 61}, 5);
    for (const std::int64_t width : {5, 7, 16, 17, 45, 384}) {
        for (const auto& site : {std::optional<DropoutSite>(), std::optional<DropoutSite>({key, 2, 0.25})}) {
            expect_definition(fused_norm(layout, site), plain_norm(layout, site), norm_inputs(layout->rows(), width),
                              "width " + std::to_string(width) + (site ? " with dropout" : ""));
        }
    }
}

TEST(ResidualNorm, AddsToGradientsWhereTheyLie) {
    const auto layout = layout_of({3, 1, 70, 61});
    expect_added_in_place(fused_norm(layout, {}), norm_inputs(layout->rows(), 45), "norm");
}

TEST(ResidualNorm, KeepsItsDigitsFarFromZero) {
    const auto layout = layout_of({40});
    Tensors inputs = norm_inputs(40, 100);
    inputs[2] = inputs[2] + 1000.0;
    const Tensors got = results(fused_norm(layout, {}), inputs, torch::kFloat32);
    const Tensors expected = results(plain_norm(layout, {}), inputs, torch::kFloat64);
    EXPECT_LT(relative_difference(got[0], expected[0]), 1e-4);  // the inputs themselves have 6e-5 of the deviation
}

TEST(ResidualNorm, ThreadsDoNotChangeTheBits) {
    const auto layout = layout_of({150, 200, 301});
    expect_same_bits_on_threads(fused_norm(layout, DropoutSite{key, 1, 0.1}), norm_inputs(layout->rows(), 384));
}

TEST(PackedNorm, EqualsLayerNorm) {
    for (const std::int64_t width : {3, 16, 50}) {
        const auto plain = [](const Tensors& in) {
            return torch::layer_norm(in[0], {in[0].size(1)}, in[1], in[2], 1e-12);
        };
        const auto fused = [](const Tensors& in) { return packed_norm(in[0], {in[1], in[2], 1e-12}); };
        expect_definition(fused, plain,
                          {random_tensor({70, width}, 1), random_tensor({width}, 2), random_tensor({width}, 3)},
                          "width " + std::to_string(width));
    }
}

// ---- f(x + bias) ----

torch::Tensor plain_activation(const torch::Tensor& x, ActivationKind kind) {
    if (kind == ActivationKind::relu) return torch::relu(x);
    return torch::gelu(x, kind == ActivationKind::gelu ? "none" : "tanh");
}

TEST(BiasActivation, EqualsItsDefinition) {
    for (const auto kind : {ActivationKind::gelu, ActivationKind::gelu_tanh, ActivationKind::relu}) {
        const auto fused = [=](const Tensors& in) { return bias_activation(in[0], in[1], kind); };
        const auto plain = [=](const Tensors& in) { return plain_activation(in[0] + in[1], kind); };
        for (const std::int64_t width : {1, 15, 16, 33, 1536}) {
            expect_definition(fused, plain, {random_tensor({131, width}, 1) * 2, random_tensor({width}, 2)},
                              "kind " + std::to_string(static_cast<int>(kind)) + ", width " + std::to_string(width));
        }
    }
}

TEST(BiasActivation, IsRightEverywhere) {
    const torch::Tensor x = torch::linspace(-20, 20, 400001).view({1, -1});
    const torch::Tensor none = torch::zeros({x.size(1)});
    for (const auto kind : {ActivationKind::gelu, ActivationKind::gelu_tanh}) {
        torch::Tensor single = x.clone().requires_grad_(), wide = x.to(torch::kFloat64).requires_grad_();
        const torch::Tensor got = bias_activation(single, none, kind), expected = plain_activation(wide, kind);
        const torch::Tensor scale = expected.abs().clamp_min(1.0);
        EXPECT_LT(((got - expected) / scale).abs().max().item<double>(), 3e-7);
        got.sum().backward();
        expected.sum().backward();
        EXPECT_LT((single.grad() - wide.grad()).abs().max().item<double>(), 2e-6);
    }
    const torch::Tensor spoilt = torch::full({1, 5}, std::nan(""));
    for (const auto kind : {ActivationKind::gelu, ActivationKind::gelu_tanh, ActivationKind::relu}) {
        EXPECT_TRUE(bias_activation(spoilt, torch::zeros({5}), kind).isnan().all().item<bool>()) << "a NaN must show";
    }
}

TEST(BiasActivation, AddsToGradientsWhereTheyLie) {
    const auto fused = [](const Tensors& in) { return bias_activation(in[0], in[1], ActivationKind::gelu); };
    expect_added_in_place(fused, {random_tensor({135, 45}, 1), random_tensor({45}, 2)}, "bias and activation");
}

TEST(BiasActivation, ThreadsDoNotChangeTheBits) {
    const auto fused = [](const Tensors& in) { return bias_activation(in[0], in[1], ActivationKind::gelu); };
    expect_same_bits_on_threads(fused, {random_tensor({500, 200}, 1), random_tensor({200}, 2)});
}

// ---- linear ----

TEST(PackedLinear, EqualsLinear) {
    const auto fused = [](const Tensors& in) { return packed_linear(in[0], in[1], in[2]); };
    const auto plain = [](const Tensors& in) { return torch::linear(in[0], in[1], in[2]); };
    // bf16 by the room's own kernel where sizes are even, else by LibTorch.
    for (const auto& [rows, in, out] :
         std::vector<std::array<std::int64_t, 3>>{{97, 33, 18}, {97, 34, 18}, {300, 64, 100}, {9, 34, 7}}) {
        expect_definition(fused, plain,
                          {random_tensor({rows, in}, 1), random_tensor({out, in}, 2), random_tensor({out}, 3)},
                          "linear");
    }
}

TEST(PackedLinears, AreLayersOfOneInput) {
    const auto fused = [](const Tensors& in) {
        return torch::cat(packed_linears(in[0], {in[1], in[2], in[3]}, {in[4], in[5], in[6]}), 1);
    };
    const auto plain = [](const Tensors& in) {
        return torch::cat({torch::linear(in[0], in[1], in[4]), torch::linear(in[0], in[2], in[5]),
                           torch::linear(in[0], in[3], in[6])},
                          1);
    };
    const Tensors inputs = {random_tensor({97, 34}, 1), random_tensor({18, 34}, 2), random_tensor({26, 34}, 3),
                            random_tensor({50, 34}, 4), random_tensor({18}, 5),     random_tensor({26}, 6),
                            random_tensor({50}, 7)};
    expect_definition(fused, plain, inputs, "layers of one input");
    expect_same_bits_on_threads(fused, inputs, torch::kBFloat16);
}

TEST(PackedLinears, GiveGradientsToThoseThatTrain) {
    const torch::Tensor x = random_tensor({12, 8}, 1);
    const torch::Tensor frozen = random_tensor({6, 8}, 2), bias = torch::zeros({6});
    torch::Tensor weight = random_tensor({6, 8}, 3).requires_grad_();
    const auto out = packed_linears(x, {frozen, weight}, {bias, bias});
    EXPECT_TRUE(out[1].requires_grad());
    (out[0] + out[1]).sum().backward();
    EXPECT_FALSE(frozen.grad().defined());
    EXPECT_LT(relative_difference(weight.grad(), x.sum(0).expand({6, 8})), 1e-6);
}

TEST(PackedLinear, AddsToGradientsWhereTheyLie) {
    const auto fused = [](const Tensors& in) { return packed_linear(in[0], in[1], in[2]); };
    expect_added_in_place(fused, {random_tensor({135, 34}, 1), random_tensor({18, 34}, 2), random_tensor({18}, 3)},
                          "linear");
}

TEST(PackedLinear, GivesAFrozenWeightNothing) {
    const torch::Tensor weight = random_tensor({5, 8}, 2);
    torch::Tensor x = random_tensor({3, 8}, 1).requires_grad_();
    packed_linear(x, weight, torch::zeros({5})).sum().backward();
    EXPECT_FALSE(weight.grad().defined());
    EXPECT_LT(relative_difference(x.grad(), weight.sum(0).expand({3, 8})), 1e-6);
}

// ---- embeddings ----

struct Words {
    PackedInput input =
        PackedInput::from_vectors({4, 0, 6, 4, 4, 1, 0, 9}, {0, 1, 1, 0, 0, 1, 1, 1}, {}, {0, 5, 8}, {});
    Tensors tables = {random_tensor({10, 20}, 1), random_tensor({2, 20}, 2), random_tensor({7, 20}, 3)};
    Function fused = [this](const Tensors& in) { return packed_embedding({in[0], in[1], in[2], 0}, input); };
    Function plain = [this](const Tensors& in) {
        return torch::embedding(in[0], input.input_ids, 0) + torch::embedding(in[1], input.token_type_ids) +
               torch::embedding(in[2], input.position_ids);
    };
};

TEST(PackedEmbedding, EqualsTheSumOfItsTables) {
    const Words words;
    expect_definition(words.fused, words.plain, words.tables, "embeddings");
    expect_same_bits_on_threads(words.fused, words.tables);
    const Tensors got = results(words.fused, words.tables, torch::kFloat32);
    EXPECT_EQ(got[1][0].abs().max().item<double>(), 0.0) << "padding learns nothing";
    EXPECT_EQ(got[1][2].abs().max().item<double>(), 0.0) << "a word that is not there";
}

TEST(PackedEmbedding, AddsToGradientsWhereTheyLie) {
    const Words words;
    expect_added_in_place(words.fused, words.tables, "embeddings");
}

TEST(PackedEmbedding, SumsAWordOfThousandTokensInSinglePrecision) {
    const std::vector<std::int64_t> ids(1000, 3);
    const PackedInput input = PackedInput::from_vectors(ids, {}, {}, {0, 1000}, {});
    Tensors tables;
    for (const std::int64_t rows : {5, 2, 1000}) {
        tables.push_back(torch::zeros({rows, 16}, torch::kBFloat16).requires_grad_());
    }
    packed_embedding({tables[0], tables[1], tables[2], 0}, input).sum().backward();
    EXPECT_EQ(tables[0].grad()[3][0].item<float>(), 1000.0F) << "bfloat16 stops counting at 256";
    EXPECT_EQ(tables[1].grad()[0][15].item<float>(), 1000.0F);
}

}  // namespace
}  // namespace strata::models
