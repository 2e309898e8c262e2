// A BERT in 16 bits on the CPU, beside itself in fp32 and beside what transformers computes in bf16
// (tests/fixtures/models/make_model_fixtures.py).
#include <torch/types.h>

#include "models/bert.h"
#include "models/hf_folder.h"
#include "models/lookup.h"
#include "models/losses.h"
#include "models/safetensors.h"
#include "tests/models/batch.h"

namespace strata::models {
namespace {

using testing::Batch;
using testing::fixtures;

std::shared_ptr<Model> model_in(torch::ScalarType type) {
    const LoadedModel loaded = load_model(fixtures() / "bfloat16", {});  // values that bf16 holds exactly
    const torch::NoGradGuard no_grad;
    for (auto [name, parameter] : loaded.model->named_parameter_list()) parameter.set_data(parameter.to(type));
    return loaded.model;
}

/// Logits and gradients of the mean loss, all in fp32.
struct Outcome {
    explicit Outcome(Model& model, const std::optional<DropoutKey>& dropout = std::nullopt) {
        const Batch batch;
        logits = model.forward(batch.input, dropout);
        const torch::Tensor loss = loss_sum(logits, batch.labels, false) / static_cast<double>(batch.labels.size());
        EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
        loss.backward();
        for (const auto& [name, parameter] : model.named_parameter_list()) {
            EXPECT_EQ(parameter.grad().scalar_type(), parameter.scalar_type()) << name;
            gradients.emplace_back(name, parameter.grad().to(torch::kFloat32));
        }
    }
    torch::Tensor logits;
    NamedTensors gradients;
};

/// ‖a - b‖ / ‖b‖
double relative(const torch::Tensor& a, const torch::Tensor& b) {
    return ((a - b).norm() / b.norm()).item<double>();
}

class SixteenBits : public ::testing::TestWithParam<torch::ScalarType> {};

TEST_P(SixteenBits, LogitsAndGradientsAreThoseOfFp32WithinTheType) {
    // Units of the last place, several operations deep.
    const double tolerance = GetParam() == torch::kBFloat16 ? 0x1p-8 : 0x1p-11;
    const Outcome expected(*model_in(torch::kFloat32));
    const Outcome actual(*model_in(GetParam()));
    EXPECT_EQ(actual.logits.scalar_type(), torch::kFloat32);
    EXPECT_LT(relative(actual.logits, expected.logits), 4 * tolerance);
    double worst = 0;
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
        const auto& [name, gradient] = expected.gradients[i];
        if (gradient.norm().item<double>() < 1e-6) continue;  // of key biases: 0 but for rounding
        const double error = relative(actual.gradients[i].second, gradient);
        EXPECT_LT(error, 16 * tolerance) << name;
        worst = std::max(worst, error);
    }
    EXPECT_GT(worst, tolerance / 16) << "it did compute in 16 bits";
}

TEST_P(SixteenBits, DropTheSameElements) {
    const DropoutKey key{7, 3};
    const Outcome expected(*model_in(torch::kFloat32), key);
    const Outcome actual(*model_in(GetParam()), key);
    EXPECT_LT(relative(actual.logits, expected.logits), 0.03);
}

TEST_P(SixteenBits, FixedPartAndTheRestAreTheWhole) {
    const auto model = model_in(GetParam());
    for (auto [name, parameter] : model->named_parameter_list()) parameter.set_requires_grad(false);
    const Batch batch;
    const torch::NoGradGuard no_grad;
    const torch::Tensor fixed = model->fixed_part(batch.input).to(torch::kFloat32);
    EXPECT_TRUE(torch::equal(model->forward_from({fixed, batch.input.sample_positions}, std::nullopt),
                             model->forward(batch.input, std::nullopt)));
}

INSTANTIATE_TEST_SUITE_P(Types, SixteenBits, ::testing::Values(torch::kBFloat16, torch::kHalf),
                         [](const auto& each) { return each.param == torch::kHalf ? "fp16" : "bf16"; });

TEST(Bf16, IsAsNearToFp32AsTransformersBf16) {
    const SafetensorsFile transformers(fixtures() / "bfloat16/expected.safetensors");
    const Outcome expected(*model_in(torch::kFloat32));
    const Outcome actual(*model_in(torch::kBFloat16));
    const torch::Tensor logits = transformers.load("bf16.logits");
    // A dozen logits: their errors are few draws of chance, and differ with the threads of a product.
    EXPECT_LT(relative(actual.logits, expected.logits), 2 * relative(logits, expected.logits));
    double own = 0;
    double theirs = 0;
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
        const auto& [name, gradient] = expected.gradients[i];
        own += (actual.gradients[i].second - gradient).square().sum().item<double>();
        theirs += (transformers.load("bf16.grad." + name) - gradient).square().sum().item<double>();
    }
    EXPECT_GT(own, 0);
    EXPECT_LT(std::sqrt(own), 1.25 * std::sqrt(theirs));
}

TEST(Lookup, SumsARowsGradientInFp32) {
    torch::Tensor table = torch::ones({5, 3}, torch::kBFloat16).set_requires_grad(true);
    const torch::Tensor ids =
        torch::cat({torch::zeros({1000}, torch::kInt64), torch::tensor({3, 3, 4}, torch::kInt64)});
    const torch::Tensor out = lookup(table, ids, 4);
    EXPECT_EQ(out.scalar_type(), torch::kBFloat16);
    out.sum(torch::kFloat32).backward();
    const torch::Tensor sums = table.grad().to(torch::kFloat32);
    EXPECT_EQ(sums[0][0].item<float>(), 1000.0F) << "bf16 would stop at 256";
    EXPECT_EQ(sums[1][0].item<float>(), 0.0F);
    EXPECT_EQ(sums[3][2].item<float>(), 2.0F);
    EXPECT_EQ(sums[4][0].item<float>(), 0.0F) << "padding";
}

}  // namespace
}  // namespace strata::models
