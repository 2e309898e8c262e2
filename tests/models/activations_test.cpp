// The estimate of a step's activations against what LibTorch's allocator hands out.
#include "models/activations.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "models/bert.h"
#include "models/losses.h"

namespace strata::models {
namespace {

/// Bytes that tensors hold, and the most they held, since it began.
class Meter : public c10::MemoryReportingInfoBase {
  public:
    void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
        now_ += bytes;
        peak_ = std::max(peak_, now_);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t peak() const { return peak_; }

  private:
    std::int64_t now_ = 0, peak_ = 0;
};

/// Half as wide as MiniLM, with as many layers.
BertConfig half_minilm() {
    BertConfig config;
    config.vocab_size = 4000;
    config.hidden_size = 192;
    config.num_hidden_layers = 6;
    config.num_attention_heads = 6;
    config.intermediate_size = 768;
    return config;
}

PackedInput full_batch(const BatchSize& batch) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(batch.sequences * batch.length), 7), offsets;
    for (std::int64_t b = 0; b <= batch.sequences; ++b) offsets.push_back(b * batch.length);
    return PackedInput::from_vectors(ids, {}, {}, offsets, {});
}

std::int64_t measured_bytes(const BertConfig& config, const BatchSize& batch,
                            const std::function<bool(const std::string&)>& trains, bool recomputes) {
    BertForSequenceClassification model(config);
    model.set_recomputes(recomputes);
    for (const auto& [name, parameter] : model.named_parameter_list()) {
        const torch::NoGradGuard no_grad;
        parameter.normal_(0.0, 0.02);
        parameter.set_requires_grad(trains(name));
        // Under stage 1 a gradient is a view of the group's buffer.
        if (trains(name)) parameter.mutable_grad() = torch::zeros_like(parameter);
    }
    const std::vector<double> labels(static_cast<std::size_t>(batch.sequences), 1.0);
    const PackedInput input = full_batch(batch);
    const auto meter = std::make_shared<Meter>();
    {
        const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
        loss_sum(model.forward(input, DropoutKey{1, 0}), labels, false).backward();
    }
    return meter->peak();
}

void expect_near(const char* what, BertConfig config, const BatchSize& batch,
                 const std::function<bool(const std::string&)>& trains, bool recomputes = false) {
    for (const double dropout : {0.0, 0.1}) {
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
        const auto measured = static_cast<double>(measured_bytes(config, batch, trains, recomputes));
        const auto estimate = static_cast<double>(activation_bytes(config, batch, trains, {4, true, recomputes}));
        EXPECT_NEAR(estimate / measured, 1.0, 0.04)
            << what << ", " << batch.sequences << " x " << batch.length << ", dropout " << dropout << ": " << measured
            << " bytes, estimated " << estimate;
    }
}

bool everything(const std::string&) {
    return true;
}

TEST(Activations, EstimateIsNearWhatIsAllocated) {
    for (const BatchSize batch : {BatchSize{8, 32}, {32, 32}, {8, 128}, {2, 512}}) {
        expect_near("everything", half_minilm(), batch, everything);
    }
}

TEST(Activations, OfLayersThatAreComputedAgain) {
    for (const BatchSize batch : {BatchSize{8, 32}, {8, 128}, {2, 512}}) {
        expect_near("everything", half_minilm(), batch, everything, true);
    }
    EXPECT_LT(measured_bytes(half_minilm(), {8, 128}, everything, true),
              measured_bytes(half_minilm(), {8, 128}, everything, false) / 2);
}

TEST(Activations, WhatIsFrozenKeepsNothing) {
    const auto in = [](const std::string& name, const std::string& part) {
        return name.find(part) != std::string::npos;
    };
    const BatchSize batch{16, 64};
    expect_near("two top layers", half_minilm(), batch, [&](const std::string& name) {
        return in(name, "layer.4") || in(name, "layer.5") || in(name, "pooler") || in(name, "classifier");
    });
    expect_near("biases alone", half_minilm(), batch, [&](const std::string& name) { return in(name, "bias"); });
    expect_near("layer 2 and the head", half_minilm(), batch,
                [&](const std::string& name) { return in(name, "layer.2") || in(name, "classifier"); });
    expect_near("all but the word embeddings", half_minilm(), batch,
                [&](const std::string& name) { return !in(name, "word_embeddings"); });
    expect_near("the head", half_minilm(), batch, [&](const std::string& name) { return in(name, "classifier"); });
}

TEST(Activations, OtherShapes) {
    BertConfig config = half_minilm();
    config.hidden_act = "relu";
    expect_near("relu", config, {16, 64}, everything);
    config = half_minilm();
    config.num_hidden_layers = 2;
    config.vocab_size = 30522;
    expect_near("a large vocabulary", config, {4, 32}, everything);
    const std::int64_t table = config.vocab_size * config.hidden_size * 4;
    EXPECT_GE(activation_bytes(config, {4, 32}, everything, {4, false, false}), table)
        << "made whole where it has no place";
}

}  // namespace
}  // namespace strata::models
