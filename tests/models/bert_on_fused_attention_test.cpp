// A BERT whose attention is LibTorch's fused operators', as on a GPU: here their stand-ins on the CPU.
#include <gtest/gtest.h>

#include "models/hf_folder.h"
#include "models/losses.h"
#include "models/model.h"
#include "tests/models/batch.h"
#include "tests/models/fused_attention_stand_in.h"

namespace strata::models {
namespace {

using testing::Batch;
using testing::fixtures;
using testing::FusedAttentionOnTheCpu;

/// Of 2 layers, dropping everywhere.
std::shared_ptr<Model> dropping_model(torch::ScalarType type) {
    LoadOptions options;
    options.hidden_dropout_prob = options.attention_probs_dropout_prob = 0.3;
    const LoadedModel loaded = load_model(fixtures() / "classifier", options);
    const torch::NoGradGuard no_grad;
    for (auto [name, parameter] : loaded.model->named_parameter_list()) parameter.set_data(parameter.to(type));
    return loaded.model;
}

/// The loss of two batches, and all gradients. The operators draw from the CPU's generator.
std::vector<torch::Tensor> trained(Model& model) {
    torch::manual_seed(5);
    // Bound, as in a training: else whose gradient comes first decides by which kernel the other's is added.
    for (const auto& [name, parameter] : model.named_parameter_list())
        parameter.mutable_grad() = parameter.requires_grad() ? torch::zeros_like(parameter) : torch::Tensor();
    torch::Tensor loss = torch::zeros({});
    for (const Batch& batch : {Batch(), Batch({2, 0})})  // their passes one within the other
        loss = loss + loss_sum(model.forward(batch.input, DropoutKey{3, 8}), batch.labels, false);
    loss.backward();
    std::vector<torch::Tensor> results{loss.detach()};
    for (const auto& [name, parameter] : model.named_parameter_list()) results.push_back(parameter.grad());
    return results;
}

void expect_same_bits(const std::vector<torch::Tensor>& got, const std::vector<torch::Tensor>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].defined(), expected[i].defined()) << i;
        EXPECT_TRUE(!got[i].defined() || torch::equal(got[i], expected[i])) << i;
    }
}

class BertOnFusedAttention : public ::testing::TestWithParam<torch::ScalarType> {};

TEST_P(BertOnFusedAttention, IsNotOnItWhereSumsAreOrdered) {
    const auto model = dropping_model(GetParam());
    const auto expected = trained(*model);  // by our kernel
    const FusedAttentionOnTheCpu fused;
    model->set_ordered_sums(true);
    expect_same_bits(trained(*model), expected);
    model->fixed_part(Batch().input);
    EXPECT_EQ(fused.forward_calls(), 0);
    model->set_ordered_sums(false);
    trained(*model);
    EXPECT_EQ(fused.forward_calls(), 2 * 2);
    model->fixed_part(Batch().input);
    EXPECT_EQ(fused.forward_calls(), 2 * 2 + 2);
}

TEST_P(BertOnFusedAttention, IsOnItOnceWhereLayersAreComputedAgain) {
    // Nothing frozen; nothing below the layers wants gradients; the last layer alone learns, the head alone.
    for (const std::vector<std::string>& frozen : {std::vector<std::string>{},
                                                   {"embeddings"},
                                                   {"embeddings", "layer.0"},
                                                   {"embeddings", "layer.0", "layer.1"}}) {
        const FusedAttentionOnTheCpu fused;
        const auto model = dropping_model(GetParam());
        for (const auto& [name, parameter] : model->named_parameter_list()) {
            for (const std::string& part : frozen) {
                if (name.find(part + ".") != std::string::npos) parameter.set_requires_grad(false);
            }
        }
        const auto expected = trained(*model);
        const std::int64_t forward = fused.forward_calls(), backward = fused.backward_calls();
        model->set_recomputes(true);
        expect_same_bits(trained(*model), expected);
        EXPECT_EQ(fused.forward_calls(), 2 * forward) << frozen.size();
        EXPECT_EQ(fused.backward_calls(), 2 * backward) << frozen.size();
    }
}

INSTANTIATE_TEST_SUITE_P(Types, BertOnFusedAttention, ::testing::Values(torch::kFloat32, torch::kBFloat16));

}  // namespace
}  // namespace strata::models
