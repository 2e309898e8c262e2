// Batches padded to buckets, and tensors sent in one run, against the batches themselves.
#include "models/token_buckets.h"

#include <gtest/gtest.h>

#include <set>

#include "models/bert.h"
#include "models/hf_folder.h"
#include "models/losses.h"
#include "models/tensor_run.h"
#include "tests/models/batch.h"

namespace strata::models {
namespace {

using testing::Batch;
using testing::fixtures;
using testing::largest_difference;

/// One of these lengths.
PackedInput some_input(const std::vector<std::int64_t>& lengths) {
    std::vector<std::int64_t> ids, offsets{0};
    for (const std::int64_t length : lengths) {
        for (std::int64_t i = 0; i < length; ++i) ids.push_back(5 + i % 7);
        offsets.push_back(offsets.back() + length);
    }
    return PackedInput::from_vectors(ids, {}, {}, offsets, {});
}

TEST(TokenBucket, StepsAreAnEighthOfADoublingAndAtLeast64) {
    const TokenBuckets buckets(32, 128);
    std::set<std::int64_t> between;
    for (std::int64_t tokens = 32; tokens <= 4096; ++tokens) {
        const std::int64_t bucket = buckets.tokens(32, tokens), needed = tokens + buckets.sequences() - 32;
        ASSERT_GE(bucket, needed);
        ASSERT_LT(bucket - needed, std::max<std::int64_t>(64, needed / 8));
        ASSERT_EQ(buckets.tokens(32, bucket - (needed - tokens)), bucket) << "it takes all that it has room for";
        if (bucket > 1024 && bucket <= 2048) between.insert(bucket);
    }
    EXPECT_EQ(between.size(), 8U);
    EXPECT_EQ(buckets.tokens(32, 10 * 32), buckets.tokens(31, 10 * 32 - 1)) << "a dummy in place of a sequence";
}

TEST(TokenBucket, DummiesComeBehindTheBatch) {
    const TokenBuckets buckets(4, 30);
    const PackedInput input = some_input({30, 2, 17});
    const std::int64_t bucket = buckets.tokens(3, 49);
    const PackedInput padded = buckets.padded(input, bucket);
    EXPECT_EQ(bucket, 64);
    EXPECT_EQ(buckets.sequences(), 6);
    EXPECT_EQ(padded.offsets, (std::vector<std::int64_t>{0, 30, 32, 49, 54, 59, 64}));
    EXPECT_EQ(padded.sample_positions, (std::vector<std::int64_t>{0, 1, 2, -1, -1, -1}));
    for (const auto& [ids, own] :
         {std::pair(padded.input_ids, input.input_ids), std::pair(padded.token_type_ids, input.token_type_ids),
          std::pair(padded.position_ids, input.position_ids)}) {
        ASSERT_EQ(ids.size(0), 64);
        EXPECT_TRUE(torch::equal(ids.narrow(0, 0, 49), own));
        EXPECT_EQ(ids.narrow(0, 49, 15).abs().sum().item<std::int64_t>(), 0);
    }
}

/// Whatever a capture bakes in is the bucket's: also for a batch of another length that another rank's makes it take.
TEST(TokenBucket, ShapesDependOnTheBucketAlone) {
    const TokenBuckets buckets(4, 60);
    const std::int64_t bucket = buckets.tokens(4, 240);
    std::set<std::vector<std::int64_t>> shapes;
    for (const auto& lengths : {std::vector<std::int64_t>{60, 60, 60, 60}, {60, 60, 60, 59}, {1, 1, 1, 1}, {60}, {}}) {
        const PackedInput padded = buckets.padded(some_input(lengths), bucket);
        const LayoutPointer layout = make_layout(padded);
        for (std::int64_t b = 0; b < layout->sequences(); ++b) EXPECT_GE(layout->longest, layout->length(b));
        shapes.insert({layout->rows(), layout->sequences(), layout->longest});
    }
    EXPECT_EQ(shapes.size(), 1U);
}

TEST(TokenBucket, WhatDoesNotFitIsABug) {
    const TokenBuckets buckets(2, 30);
    EXPECT_THROW(buckets.padded(some_input({30, 30}), 60), std::logic_error);
    EXPECT_THROW(buckets.tokens(3, 30), std::logic_error);
    EXPECT_THROW(TokenBuckets(0, 30), std::logic_error);
}

class PaddedTraining : public ::testing::TestWithParam<std::string> {
  protected:
    torch::Tensor padded_loss(const PackedInput& input, const std::vector<double>& labels, std::int64_t bucket,
                              const DropoutKey& key) {
        const torch::Tensor logits = loaded_.model->forward(buckets_.padded(input, bucket), key);
        return loss_sum(logits, make_targets(labels, regression(), 1.0 / 12, buckets_.sequences()));
    }
    bool regression() const { return loaded_.config.regression; }
    const std::vector<double>& labels() const { return regression() ? batch_.values : batch_.labels; }

    NamedTensors gradients() const {
        NamedTensors list;
        for (const auto& [name, parameter] : loaded_.model->named_parameter_list())
            list.emplace_back(name, parameter.grad().clone());
        return list;
    }

    LoadedModel loaded_ = load_model(fixtures() / GetParam(), {});
    Batch batch_;
    TokenBuckets buckets_{static_cast<std::int64_t>(batch_.labels.size()), 64};
};

/// With dropout: the masks are the samples' own.
TEST_P(PaddedTraining, HasTheLossesAndGradientsOfTheBatches) {
    const std::int64_t bucket = buckets_.tokens(batch_.input.sequences(), batch_.input.tokens());
    for (std::int64_t step = 0; step < 6; ++step) {
        const DropoutKey key{3, step};
        loaded_.model->zero_grad();
        const torch::Tensor logits = loaded_.model->forward(batch_.input, key);
        const torch::Tensor loss = loss_sum(logits, labels(), regression()) / 12.0;
        loss.backward();
        const NamedTensors expected = gradients();
        loaded_.model->zero_grad();
        const torch::Tensor padded = padded_loss(batch_.input, labels(), bucket + 64 * (step % 3), key);
        padded.backward();
        EXPECT_NEAR(padded.item<double>(), loss.item<double>(), 2e-6 * std::abs(loss.item<double>()));
        const NamedTensors got = gradients();
        for (std::size_t i = 0; i < got.size(); ++i) {
            EXPECT_LT(largest_difference(got[i].second, expected[i].second),
                      2e-6 * (1 + expected[i].second.abs().max().item<double>()))
                << got[i].first;
        }
        const torch::NoGradGuard no_grad;
        for (const auto& [name, parameter] : loaded_.model->named_parameter_list())
            torch::Tensor(parameter).sub_(batch_.rate * parameter.grad());
    }
}

TEST_P(PaddedTraining, AnOutputIsTheSamples) {
    const PackedInput padded = buckets_.padded(batch_.input, 192);
    const torch::NoGradGuard no_grad;
    const torch::Tensor logits = loaded_.model->forward(padded, std::nullopt);
    const std::int64_t samples = batch_.input.sequences();
    EXPECT_LT(largest_difference(logits.narrow(0, 0, samples), loaded_.model->forward(batch_.input, std::nullopt)),
              1e-5);
}

/// A rank that has no samples takes part with dummies, and adds nothing.
TEST_P(PaddedTraining, DummiesAloneGiveZeros) {
    const torch::Tensor loss = padded_loss(some_input({}), {}, 192, {3, 1});
    EXPECT_EQ(loss.item<double>(), 0.0);
    loss.backward();
    for (const auto& [name, gradient] : gradients()) EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
}

INSTANTIATE_TEST_SUITE_P(Heads, PaddedTraining, ::testing::Values("classifier", "regression"));

TEST(TensorRuns, GiveBackWhatWasWritten) {
    const std::vector<torch::Tensor> tensors = {torch::arange(5), torch::arange(6, torch::kInt32).view({3, 2}),
                                                torch::tensor({0.5F}), torch::zeros({0, 2}, torch::kInt64),
                                                torch::arange(12).view({3, 4}).t()};
    const TensorRun run(tensors);
    const torch::Tensor bytes = torch::full({run.bytes()}, 0xff, torch::kUInt8);
    run.write(tensors, static_cast<std::byte*>(bytes.mutable_data_ptr()));
    const std::vector<torch::Tensor> views = run.views(bytes);
    for (std::size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(torch::equal(views[i], tensors[i])) << i;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(views[1].const_data_ptr()) % 16, 0U);
    EXPECT_EQ(views[0].const_data_ptr(), bytes.const_data_ptr()) << "where they lie";
    EXPECT_THROW(run.write({torch::arange(5)}, nullptr), std::logic_error);
    std::vector<torch::Tensor> others = tensors;
    others[0] = torch::arange(4);
    EXPECT_THROW(run.write(others, static_cast<std::byte*>(bytes.mutable_data_ptr())), std::logic_error);
}

TEST(TensorRuns, AnInputIsItsTensors) {
    const PackedInput input = some_input({3, 1, 2});
    const PackedInput sent = with_tensors(input, tensors_of(input));
    const LayoutPointer layout = make_layout(sent);
    EXPECT_TRUE(sent.input_ids.is_same(input.input_ids));
    const LayoutTensors rows = layout->on(torch::kCPU);
    EXPECT_TRUE(rows.places.is_same(sent.rows.places)) << "not made again";
    EXPECT_TRUE(torch::equal(rows.places, torch::tensor({{0, 0}, {0, 1}, {0, 2}, {1, 0}, {2, 0}, {2, 1}})));
    EXPECT_TRUE(torch::equal(rows.borders, torch::tensor({0, 3, 4, 6}, torch::kInt32)));
    EXPECT_TRUE(torch::equal(rows.firsts, torch::tensor({0, 3, 4})));
    EXPECT_TRUE(torch::equal(sent.pooled.places, torch::tensor({{0, 0}, {1, 0}, {2, 0}})));
    const LayoutTensors made = make_layout(input)->on(torch::kCPU);
    EXPECT_TRUE(torch::equal(made.places, rows.places));
}

TEST(TensorRuns, WhatANetworkGoesOnFromIsItsTensors) {
    const FixedInput input{torch::rand({3, 4}), {7, 2, -1}};
    const FixedInput sent = with_tensors(input, tensors_of(input));
    EXPECT_TRUE(sent.rows.is_same(input.rows));
    const LayoutTensors rows = make_pooled_layout(sent.sample_positions, sent.pooled)->on(torch::kCPU);
    EXPECT_TRUE(rows.places.is_same(sent.pooled.places)) << "not made again";
    EXPECT_TRUE(torch::equal(rows.places, torch::tensor({{7, 0}, {2, 0}, {-1, 0}})));
    EXPECT_TRUE(torch::equal(rows.borders, torch::tensor({0, 1, 2, 3}, torch::kInt32)));
    EXPECT_TRUE(torch::equal(rows.firsts, torch::tensor({0, 1, 2})));
}

}  // namespace
}  // namespace strata::models
