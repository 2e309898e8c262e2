// Dropout, attention and losses against their definitions and ATen.
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <numeric>

#include "models/dropout.h"
#include "models/dropout_rows.h"
#include "models/losses.h"
#include "models/packed_attention.h"
#include "models/vector_products.h"
#include "tests/models/support.h"
#include "tests/models/tensors.h"

namespace strata::models {
namespace {

using testing::key;
using testing::largest_difference;
using testing::layout_of;
using testing::random_tensor;

// ---- dropout ----

TEST(Dropout, KeepsTheRightShareOfElementsAndScalesThem) {
    for (const double probability : {0.1, 0.5, 0.9}) {
        const DropoutSite site{key, 4, probability};
        const torch::Tensor factors = dropout_factors(*layout_of({50, 1, 149}), 500, site);
        const auto n = static_cast<double>(factors.numel());
        const double kept = (factors > 0).sum().item<double>();
        EXPECT_NEAR(kept, n * (1 - probability), 4 * std::sqrt(n * probability * (1 - probability)));
        EXPECT_TRUE(((factors == 0) | (factors == static_cast<float>(1 / (1 - probability)))).all().item<bool>());
    }
}

/// Bits that should have nothing in common: their agreement is binomial.
void expect_independent(const torch::Tensor& a, const torch::Tensor& b, const std::string& what) {
    const auto n = static_cast<double>(a.numel());
    const double agreeing = ((a > 0) == (b > 0)).sum().item<double>();
    EXPECT_NEAR(agreeing, n / 2, 4 * std::sqrt(n) / 2) << what;
}

TEST(Dropout, EveryPartOfTheKeyMatters) {
    const auto layout = layout_of({100, 100});
    const auto factors = [&](std::uint64_t seed, std::int64_t step, std::int64_t site, std::int64_t first_position) {
        return dropout_factors(*layout_of({100, 100}, first_position), 384, {{seed, step}, site, 0.5});
    };
    const torch::Tensor base = factors(1, 1, 1, 0);
    EXPECT_TRUE(torch::equal(base, factors(1, 1, 1, 0)));
    expect_independent(base, factors(2, 1, 1, 0), "seed");
    expect_independent(base, factors(1, 2, 1, 0), "step");
    expect_independent(base, factors(1, 1, 2, 0), "site");
    expect_independent(base, factors(1, 1, -1, 0), "the head's site");
    expect_independent(base, factors(1, 1, 1, 2), "sample");
    expect_independent(base, factors(1, 2, 1, 0).roll(1, 0), "next token of the next step");
    expect_independent(base.slice(0, 0, 199), base.slice(0, 1, 200), "neighbouring tokens");
    expect_independent(base.slice(1, 0, 383), base.slice(1, 1, 384), "neighbouring elements");
    expect_independent(base.slice(1, 0, 192), base.slice(1, 192, 384), "distant elements");
    const torch::Tensor heads = attention_dropout_factors({key, 1, 0.5}, 0, 12, 40);
    expect_independent(heads.slice(0, 0, 6), heads.slice(0, 6, 12), "heads");
    const torch::Tensor above = torch::ones({40, 40}, torch::kBool).triu(1);
    expect_independent(heads.index({torch::indexing::Slice(), above}),
                       heads.transpose(1, 2).index({torch::indexing::Slice(), above}), "queries and keys");
}

/// A run that goes on draws the masks that it drew when it began, with whatever version.
TEST(Dropout, KeysAreWhatTheyWere) {
    const DropoutSite site{{42, 7}, 9, 0.25};
    EXPECT_EQ(dropout_sample_key(site, 5), 0x6482B9BE9A6A0340U);
    EXPECT_EQ(dropout_row_key(dropout_sample_key(site, 5), 2, 3), 0xA7CA4CF127B13D05U);
}

TEST(Dropout, AMaskFollowsItsSampleIntoAnyBatch) {
    const DropoutSite site{key, 2, 0.3};
    const auto whole = layout_of({5, 17, 1, 30});
    const torch::Tensor all = dropout_factors(*whole, 100, site);
    for (std::int64_t b = 0; b < 4; ++b) {
        const auto alone = layout_of({whole->length(b)}, b);
        const torch::Tensor expected = all.narrow(0, whole->offsets[static_cast<std::size_t>(b)], whole->length(b));
        EXPECT_TRUE(torch::equal(dropout_factors(*alone, 100, site), expected));
    }
    const int threads = torch::get_num_threads();
    torch::set_num_threads(threads == 1 ? 4 : 1);
    EXPECT_TRUE(torch::equal(dropout_factors(*whole, 100, site), all));
    torch::set_num_threads(threads);
}

TEST(Dropout, TheVectorisedMaskIsTheDefinition) {
    const DropoutSite site{key, 9, 0.25};
    const std::uint64_t sample = dropout_sample_key(site, 0);
    const torch::Tensor factors = dropout_factors(*layout_of({3}), 37, site);
    for (std::int64_t token = 0; token < 3; ++token) {
        for (std::int64_t i = 0; i < 37; ++i) {
            EXPECT_EQ(factors[token][i].item<float>(), dropout_factor(site, dropout_row_key(sample, token, 0), i));
        }
    }
    const torch::Tensor attention = attention_dropout_factors(site, 0, 2, 21);
    EXPECT_EQ(attention[1][4][20].item<float>(), dropout_factor(site, dropout_row_key(sample, 4, 1), 20));
}

TEST(Dropout, AGpuIsToldTheSameMasks) {
    const DropoutSite site{key_on(key, torch::kCPU), 9, 0.25};
    const auto layout = layout_of({3, 1, 17}, 30);
    const DropoutPlaces places = dropout_places(*layout, site, torch::kCPU);
    EXPECT_EQ(places.places, dropout_places(*layout, site, torch::kCPU).places) << "copied once";
    EXPECT_EQ(places.step_key, site.key.there.const_data_ptr()) << "read where it lies";
    EXPECT_THROW(dropout_places(*layout, {key, 9, 0.25}, torch::kCPU), std::logic_error);
    const DropoutRows rows(*layout, site);
    for (std::int64_t row = 0; row < layout->rows(); ++row) {
        EXPECT_EQ(places.row_key(row), rows[row].key);
        EXPECT_EQ(places.threshold, rows[row].threshold);
        EXPECT_EQ(places.scale, rows[row].scale);
    }
}

TEST(Dropout, WithoutProbabilityNothingHappens) {
    const torch::Tensor x = random_tensor({4, 8}, 1);
    EXPECT_TRUE(packed_dropout(x, layout_of({4}), std::nullopt).is_same(x));
    EXPECT_TRUE(packed_dropout(x, layout_of({4}), DropoutSite{key, 1, 0.0}).is_same(x));
}

TEST(Dropout, ForwardAndBackwardUseOneMask) {
    const auto layout = layout_of({3, 20});
    const DropoutSite site{key, 5, 0.4};
    for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kBFloat16}) {
        const torch::Tensor factors = dropout_factors(*layout, 45, site).to(dtype);
        torch::Tensor x = random_tensor({23, 45}, 1).to(dtype).requires_grad_();
        const torch::Tensor weights = random_tensor({23, 45}, 3).to(dtype);
        const torch::Tensor y = packed_dropout(x, layout, site);
        const double tolerance = dtype == torch::kBFloat16 ? 0.05 : 1e-6;
        EXPECT_LT(largest_difference(y, factors * x), tolerance);
        (y * weights).sum().backward();
        EXPECT_LT(largest_difference(x.grad(), factors * weights), tolerance);
    }
}

// ---- attention ----

/// The definition, by ATen's autograd, sequence by sequence.
torch::Tensor plain_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              std::int64_t heads, const PackedLayout& layout,
                              const std::optional<DropoutSite>& dropout) {
    std::vector<torch::Tensor> rows;
    for (std::int64_t b = 0; b < layout.sequences(); ++b) {
        const auto index = static_cast<std::size_t>(b);
        const std::int64_t length = layout.length(b), head_size = q.size(1) / heads;
        const auto split = [&](const torch::Tensor& x) {
            return x.narrow(0, layout.offsets[index], length).view({length, heads, head_size}).transpose(0, 1);
        };
        torch::Tensor p =
            torch::softmax(torch::matmul(split(q), split(k).transpose(1, 2)) / std::sqrt(double(head_size)), -1);
        if (dropout)
            p = p * attention_dropout_factors(*dropout, layout.sample_positions[index], heads, length).to(p.options());
        rows.push_back(torch::matmul(p, split(v)).transpose(0, 1).reshape({length, heads * head_size}));
    }
    return torch::cat(rows);
}

struct Inputs {
    Inputs(std::int64_t rows, std::int64_t width, torch::ScalarType dtype)
        : q(random_tensor({rows, width}, 1).to(dtype).mul_(2).requires_grad_()),
          k(random_tensor({rows, width}, 2).to(dtype).requires_grad_()),
          v(random_tensor({rows, width}, 3).to(dtype).requires_grad_()),
          weights(random_tensor({rows, width}, 4).to(dtype)) {}
    std::vector<torch::Tensor> results(const torch::Tensor& out) const {
        auto grads = torch::autograd::grad({(out * weights).sum()}, {q, k, v});
        grads.insert(grads.begin(), out.detach());
        return grads;
    }
    torch::Tensor q, k, v, weights;
};

void expect_plain_attention(const std::vector<std::int64_t>& lengths, std::int64_t heads, std::int64_t head_size,
                            const std::optional<DropoutSite>& dropout, std::int64_t short_limit,
                            torch::ScalarType dtype, double tolerance) {
    const auto layout = layout_of(lengths, 11);
    const Inputs inputs(layout->rows(), heads * head_size, dtype);
    const auto got = inputs.results(
        packed_attention(inputs.q, inputs.k, inputs.v, heads, layout, dropout, {.short_limit = short_limit}));
    const auto expected = inputs.results(plain_attention(inputs.q, inputs.k, inputs.v, heads, *layout, dropout));
    const char* names[] = {"output", "grad q", "grad k", "grad v"};
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_LT(largest_difference(got[i], expected[i]), tolerance)
            << names[i] << ", first length " << lengths.front() << ", head size " << head_size << ", limit "
            << short_limit;
    }
}

std::vector<std::int64_t> lengths_up_to(std::int64_t longest) {
    std::vector<std::int64_t> lengths(static_cast<std::size_t>(longest));
    std::iota(lengths.begin(), lengths.end(), std::int64_t{1});
    return lengths;
}

TEST(PackedAttention, EqualsPlainAttentionAtEveryLength) {
    const DropoutSite site{key, 1, 0.2};
    for (const std::int64_t limit : {std::int64_t{1000}, std::int64_t{0}, std::int64_t{40}}) {
        expect_plain_attention(lengths_up_to(130), 2, 32, std::nullopt, limit, torch::kFloat32, 2e-5);
        expect_plain_attention(lengths_up_to(130), 2, 32, site, limit, torch::kFloat32, 2e-5);
    }
}

TEST(PackedAttention, TakesAnyHeadSize) {
    const DropoutSite site{key, 1, 0.1};
    for (const std::int64_t head_size : {1, 3, 8, 16, 20, 33, 64, 96, 128}) {
        expect_plain_attention({1, 2, 15, 16, 17, 31, 33, 64, 65}, 3, head_size, site, 1000, torch::kFloat32, 3e-5);
    }
}

TEST(PackedAttention, TakesBfloat16) {
    // Against itself in fp32 on the same numbers. What is read and written is rounded; where the processor multiplies
    // bf16, so are probabilities and the gradients of scores.
    const double roundings = vector_products() != nullptr ? 2 : 1;
    const DropoutSite site{key, 1, 0.2};
    for (const std::int64_t head_size : {3, 16, 20, 32, 64}) {
        for (const std::int64_t limit : {std::int64_t{1000}, std::int64_t{0}}) {
            const auto layout = layout_of({1, 5, 16, 23, 64, 100});
            const Inputs half(layout->rows(), 2 * head_size, torch::kBFloat16);
            Inputs whole = half;
            for (torch::Tensor* tensor : {&whole.q, &whole.k, &whole.v}) {
                *tensor = tensor->detach().to(torch::kFloat32).requires_grad_();
            }
            whole.weights = half.weights.to(torch::kFloat32);
            const auto got =
                half.results(packed_attention(half.q, half.k, half.v, 2, layout, site, {.short_limit = limit}));
            const auto expected = whole.results(packed_attention(whole.q, whole.k, whole.v, 2, layout, site));
            for (std::size_t i = 0; i < 4; ++i) {
                EXPECT_EQ(got[i].scalar_type(), torch::kBFloat16);
                const double largest = expected[i].abs().max().item<double>();
                EXPECT_LT(largest_difference(got[i], expected[i]), roundings * largest / 256)
                    << i << ", head size " << head_size << ", limit " << limit;
            }
        }
    }
}

TEST(PackedAttention, FirstTokensAloneGetWhatTheyGetAmongAll) {
    const DropoutSite site{key, 1, 0.2};
    const auto layout = layout_of({1, 5, 40, 23, 2}, 3);
    const std::vector<std::int64_t> first(layout->offsets.begin(), layout->offsets.end() - 1);
    const torch::Tensor rows = torch::tensor(first, torch::kInt64);
    for (const auto& [dtype, limit] : {std::pair{torch::kFloat32, std::int64_t{1000}}, {torch::kFloat64, 1000}}) {
        const Inputs inputs(layout->rows(), 48, dtype);
        const torch::Tensor weights = inputs.weights.index_select(0, rows);
        const auto results_of = [&](const torch::Tensor& out) {
            auto grads = torch::autograd::grad({(out * weights).sum()}, {inputs.q, inputs.k, inputs.v});
            grads.push_back(out.detach());
            return grads;
        };
        const auto got = results_of(packed_attention(inputs.q.index_select(0, rows), inputs.k, inputs.v, 3, layout,
                                                     site, {.short_limit = limit}));
        const auto expected =
            results_of(packed_attention(inputs.q, inputs.k, inputs.v, 3, layout, site, {.short_limit = limit})
                           .index_select(0, rows));
        for (std::size_t i = 0; i < 4; ++i) EXPECT_LT(largest_difference(got[i], expected[i]), 1e-6) << i;
    }
}

TEST(PackedAttention, IsExactInDoublePrecision) {
    expect_plain_attention({1, 5, 30}, 2, 8, DropoutSite{key, 1, 0.2}, 1000, torch::kFloat64, 1e-12);
}

TEST(PackedAttention, SurvivesExtremeScores) {
    const auto layout = layout_of({20});
    Inputs inputs(20, 32, torch::kFloat32);
    const torch::Tensor q = (inputs.q * 1e4).detach();
    const torch::Tensor got = packed_attention(q, inputs.k, inputs.v, 1, layout, std::nullopt);
    EXPECT_LT(largest_difference(got, plain_attention(q, inputs.k, inputs.v, 1, *layout, std::nullopt)), 1e-4);
    const torch::Tensor spoilt = q.clone();
    spoilt[3][5] = std::numeric_limits<float>::quiet_NaN();
    const torch::Tensor out = packed_attention(spoilt, inputs.k, inputs.v, 1, layout, std::nullopt);
    EXPECT_TRUE(out[3].isnan().all().item<bool>()) << "a NaN must show";
    EXPECT_FALSE(out[4].isnan().any().item<bool>());
}

TEST(PackedAttention, ThreadsDoNotChangeTheBits) {
    const auto layout = layout_of({9, 40, 3, 128, 70});
    const Inputs inputs(layout->rows(), 64, torch::kFloat32);
    const DropoutSite site{key, 1, 0.1};
    const int threads = torch::get_num_threads();
    const auto once = [&](int count) {
        torch::set_num_threads(count);
        return inputs.results(packed_attention(inputs.q, inputs.k, inputs.v, 2, layout, site));
    };
    const auto one = once(1), three = once(3);
    torch::set_num_threads(threads);
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(torch::equal(one[i], three[i])) << i;
}

TEST(PackedAttention, AWrongCallIsABug) {
    const torch::Tensor x = torch::zeros({4, 6});
    EXPECT_THROW(packed_attention(x, x, x, 4, layout_of({4}), std::nullopt), std::logic_error);
    EXPECT_THROW(packed_attention(x, x, x, 2, layout_of({5}), std::nullopt), std::logic_error);
    EXPECT_THROW(make_layout({0, 3, 3}, {0, 1}), std::logic_error);
}

// ---- losses ----

TEST(Losses, EqualTorchs) {
    torch::Tensor logits = random_tensor({5, 3}, 1).requires_grad_();
    const std::vector<double> labels = {0, 2, 1, 1, 2};
    const torch::Tensor loss = loss_sum(logits, labels, false);
    const torch::Tensor log_p = torch::log_softmax(logits, 1);
    torch::Tensor expected = torch::zeros({});
    for (std::int64_t i = 0; i < 5; ++i)
        expected = expected - log_p[i][static_cast<std::int64_t>(labels[static_cast<std::size_t>(i)])];
    EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-5);
    loss.backward();
    EXPECT_NEAR(logits.grad().sum().item<double>(), 0.0, 1e-5);

    torch::Tensor outputs = random_tensor({3, 1}, 2).requires_grad_();
    const torch::Tensor target = torch::tensor({0.5F, -1.0F, 4.25F});
    const torch::Tensor squares = loss_sum(outputs, {0.5, -1.0, 4.25}, true);
    EXPECT_NEAR(squares.item<double>(), (outputs.squeeze(1) - target).square().sum().item<double>(), 1e-5);
    squares.backward();
    EXPECT_LT(largest_difference(outputs.grad().squeeze(1), 2 * (outputs.detach().squeeze(1) - target)), 1e-6);
}

TEST(Losses, AWrongLabelIsABug) {
    const torch::Tensor logits = torch::zeros({1, 2});
    EXPECT_THROW(cross_entropy_sum(logits, {2}), std::logic_error);
    EXPECT_THROW(cross_entropy_sum(logits, {-1}), std::logic_error);
    EXPECT_THROW(cross_entropy_sum(logits, {0.5}), std::logic_error);
    EXPECT_THROW(cross_entropy_sum(logits, {std::nan("")}), std::logic_error);
    EXPECT_THROW(cross_entropy_sum(logits, {0, 1}), std::logic_error);
    EXPECT_THROW(squared_error_sum(logits, {0}), std::logic_error);
}

}  // namespace
}  // namespace strata::models
