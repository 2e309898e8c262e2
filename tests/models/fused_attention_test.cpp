// Attention by LibTorch's fused operators, against our kernel on the CPU: with stand-ins of the operators, and, where
// there is a GPU, with LibTorch's own.
#include "models/fused_attention.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <cmath>

#include "models/packed_attention.h"
#include "optim/device.h"
#include "tests/models/fused_attention_stand_in.h"
#include "tests/models/tensors.h"

namespace strata::models {
namespace {

using testing::key;
using testing::largest_difference;
using testing::layout_of;
using testing::random_tensor;

constexpr std::int64_t heads = 3;

/// A type, and a size of heads that it is tried with.
struct Kind {
    torch::ScalarType type;
    std::int64_t head_size;
    /// Of its roundings: of inputs and results, and in 16 bits of probabilities and the gradients of scores.
    double tolerance() const {
        if (type == torch::kFloat32) return 1e-5;
        return 3 * (type == torch::kBFloat16 ? 1.0 / 256 : 1.0 / 2048);
    }
};
const std::vector<Kind> kinds = {{torch::kFloat32, 8},   {torch::kFloat32, 64},   {torch::kFloat32, 264},
                                 {torch::kBFloat16, 64}, {torch::kBFloat16, 264}, {torch::kFloat16, 64}};
const std::vector<Kind> one_of_each = {{torch::kFloat32, 64}, {torch::kBFloat16, 64}};

class FusedAttention : public ::testing::TestWithParam<torch::DeviceType> {
  protected:
    void SetUp() override {
        if (!device_.is_cuda()) return;
        if (!optim::cuda_built()) GTEST_SKIP() << "built without nvcc";
        if (optim::device_count() == 0) GTEST_SKIP() << "no GPU here";
        if (c10::impl::hasDeviceGuardImpl(device_.type())) return;
        ASSERT_NE(dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL), nullptr) << dlerror();
    }

    torch::Tensor there(const torch::Tensor& x, torch::ScalarType type) const {
        return x.to(torch::TensorOptions(type).device(device_)).requires_grad_();
    }
    torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                         const LayoutPointer& layout, const std::optional<DropoutSite>& dropout = std::nullopt,
                         const KeptAttention& kept = nullptr) const {
        if (device_.is_cuda()) return packed_attention(q, k, v, heads, layout, dropout, {.kept = kept});
        return fused_attention(q, k, v, heads, layout, dropout, kept);
    }
    /// The CPU's generator gives the stand-ins' numbers.
    void seed(std::int64_t step) const {
        if (device_.is_cpu()) torch::manual_seed(static_cast<std::uint64_t>(step));
        seed_fused_attention(device_, {7, step}, 0);
    }

    torch::Device device_{GetParam()};
};

struct Inputs {
    Inputs(const LayoutPointer& layout, std::int64_t head_size, torch::ScalarType type)
        : q(random_tensor({layout->rows(), heads * head_size}, 1).mul_(2).to(type)),
          k(random_tensor(q.sizes(), 2).to(type)),
          v(random_tensor(q.sizes(), 3).to(type)),
          weights(random_tensor(q.sizes(), 4).to(type)) {}
    torch::Tensor q, k, v, weights;
};

/// The output and the gradients, on the CPU in fp32.
template <typename Attend>
std::vector<torch::Tensor> results(const std::vector<torch::Tensor>& inputs, const torch::Tensor& weights,
                                   const Attend& attend) {
    const torch::Tensor out = attend(inputs[0], inputs[1], inputs[2]);
    std::vector<torch::Tensor> all = torch::autograd::grad({(out * weights.to(out.options())).sum()}, inputs);
    all.insert(all.begin(), out.detach());
    for (torch::Tensor& tensor : all) tensor = tensor.to(torch::TensorOptions(torch::kFloat32).device(torch::kCPU));
    return all;
}

void expect_equal(const std::vector<torch::Tensor>& got, const std::vector<torch::Tensor>& expected, const Kind& kind) {
    const char* names[] = {"output", "grad q", "grad k", "grad v"};
    for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].sizes(), expected[i].sizes()) << names[i];
        const double largest = expected[i].abs().max().item<double>();
        EXPECT_LT(largest_difference(got[i], expected[i]), kind.tolerance() * largest)
            << names[i] << " in " << kind.type << ", heads of " << kind.head_size;
    }
}

TEST_P(FusedAttention, EqualsOurKernel) {
    for (const Kind& kind : kinds) {
        for (const bool first_only : {false, true}) {
            const LayoutPointer layout = layout_of({1, 5, 16, 130, 17, 33, 64, 2});
            Inputs inputs(layout, kind.head_size, kind.type);
            if (first_only) {
                inputs.q = inputs.q.index_select(0, layout->on(torch::kCPU).firsts);
                inputs.weights = inputs.weights.narrow(0, 0, layout->sequences());
            }
            const auto all = [&](torch::Device device, torch::ScalarType type) {
                std::vector<torch::Tensor> tensors;
                for (const torch::Tensor& x : {inputs.q, inputs.k, inputs.v})
                    tensors.push_back(x.to(torch::TensorOptions(type).device(device)).requires_grad_());
                return tensors;
            };
            const auto got = results(all(device_, kind.type), inputs.weights,
                                     [&](auto q, auto k, auto v) { return attend(q, k, v, layout); });
            const auto expected =
                results(all(torch::kCPU, torch::kFloat32), inputs.weights,
                        [&](auto q, auto k, auto v) { return packed_attention(q, k, v, heads, layout, std::nullopt); });
            expect_equal(got, expected, kind);
        }
    }
}

/// As in a batch padded to a bucket, whose kernels are told what holds for all of its batches.
TEST_P(FusedAttention, MayBeToldOfLongerSequences) {
    for (const Kind& kind : one_of_each) {
        PackedInput input = PackedInput::from_vectors(std::vector<std::int64_t>(12), {}, {}, {0, 7, 12}, {});
        const LayoutPointer exact = make_layout(input);
        input.longest = 100;
        const LayoutPointer longer = make_layout(input);
        const Inputs inputs(exact, kind.head_size, kind.type);
        const auto with = [&](const LayoutPointer& layout) {
            return results({there(inputs.q, kind.type), there(inputs.k, kind.type), there(inputs.v, kind.type)},
                           inputs.weights, [&](auto q, auto k, auto v) { return attend(q, k, v, layout); });
        };
        expect_equal(with(longer), with(exact), kind);
    }
}

/// As in a deterministic training.
TEST_P(FusedAttention, IsNotCalledWhereItMayNotBe) {
    const testing::FusedAttentionOnTheCpu fused;
    const LayoutPointer layout = layout_of({5, 64, 1, 130});
    const DropoutSite site{key, 1, 0.4};
    for (const Kind& kind : kinds) {
        const Inputs inputs(layout, kind.head_size, kind.type);
        const auto on = [&](torch::Device device, torch::ScalarType type) {
            std::vector<torch::Tensor> tensors;
            for (const torch::Tensor& x : {inputs.q, inputs.k, inputs.v})
                tensors.push_back(x.to(torch::TensorOptions(type).device(device)).requires_grad_());
            return results(tensors, inputs.weights, [&](auto q, auto k, auto v) {
                return packed_attention(q, k, v, heads, layout, site, {.fused = false});
            });
        };
        const auto got = on(device_, kind.type), again = on(device_, kind.type);
        expect_equal(got, on(torch::kCPU, torch::kFloat32), kind);  // which it is not with other masks
        for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(torch::equal(got[i], again[i])) << i;
    }
    EXPECT_EQ(fused.forward_calls(), 0);
}

/// An output is linear in the values: if backward drops what forward dropped, both make one sum of it.
TEST_P(FusedAttention, DropsTheSameInBothDirections) {
    for (const Kind& kind : one_of_each) {
        for (const bool first_only : {false, true}) {
            const LayoutPointer layout = layout_of({40, 64, 3, 100});
            Inputs inputs(layout, kind.head_size, kind.type);
            if (first_only) inputs.q = inputs.q.narrow(0, 0, layout->sequences());
            const torch::Tensor weights = random_tensor(inputs.q.sizes(), 4);
            seed(1);
            const auto got =
                results({there(inputs.q, kind.type), there(inputs.k, kind.type), there(inputs.v, kind.type)}, weights,
                        [&](auto q, auto k, auto v) {
                            return attend(q, k, v, layout, DropoutSite{key, 1, 0.4});
                        });
            const torch::Tensor whole = (got[0] * weights.to(kind.type)).to(torch::kFloat64);
            const torch::Tensor by_values = got[3].to(torch::kFloat64) * inputs.v.to(torch::kFloat64);
            const double size = whole.norm().item<double>();
            EXPECT_NEAR(by_values.sum().item<double>(), whole.sum().item<double>(), 10 * kind.tolerance() * size)
                << kind.type;
        }
    }
}

/// As a layer that is computed again makes its calls.
TEST_P(FusedAttention, TakesWhatTheFirstOfTwoCallsHasLeft) {
    for (const Kind& kind : kinds) {
        for (const bool first_only : {false, true}) {
            const LayoutPointer layout = layout_of({40, 64, 3, 100});
            Inputs inputs(layout, kind.head_size, kind.type);
            if (first_only) inputs.q = inputs.q.narrow(0, 0, layout->sequences());
            const torch::Tensor weights = random_tensor(inputs.q.sizes(), 4);
            const std::vector<torch::Tensor> there = {
                this->there(inputs.q, kind.type), this->there(inputs.k, kind.type), this->there(inputs.v, kind.type)};
            const auto by = [&](const KeptAttention& kept) {
                return results(there, weights, [&](auto q, auto k, auto v) {
                    return attend(q, k, v, layout, DropoutSite{key, 1, 0.4}, kept);
                });
            };
            seed(1);
            const auto expected = by(nullptr);
            seed(1);
            const auto kept = std::make_shared<AttentionOutcome>();
            {
                const torch::NoGradGuard no_grad;
                const torch::Tensor first =
                    attend(there[0], there[1], there[2], layout, DropoutSite{key, 1, 0.4}, kept);
                ASSERT_TRUE(torch::equal(first, kept->out));
            }
            seed(2);
            expect_equal(by(kept), expected, kind);
            EXPECT_FALSE(kept->out.defined() || kept->log_sum_exp.defined()) << "held longer than needed";
        }
    }
}

/// Of equal scores and values of one, an output is the share of keys that are kept, scaled: [sequences, length, heads].
torch::Tensor kept(const torch::Tensor& out, std::int64_t length) {
    return out.detach()
        .to(torch::TensorOptions(torch::kFloat64).device(torch::kCPU))
        .view({-1, length, heads, 64})
        .select(3, 0);
}

TEST_P(FusedAttention, DropsAsOftenAsItShould) {
    constexpr std::int64_t sequences = 8, length = 128;
    constexpr double probability = 0.1;
    const LayoutPointer layout = layout_of(std::vector<std::int64_t>(sequences, length));
    for (const Kind& kind : one_of_each) {
        const torch::Tensor zeros = there(torch::zeros({sequences * length, heads * 64}), kind.type);
        const torch::Tensor ones = there(torch::ones(zeros.sizes()), kind.type);
        const auto once = [&] {
            return kept(attend(zeros, zeros, ones, layout, DropoutSite{key, 1, probability}), length);
        };
        seed(1);
        const torch::Tensor shares = once();
        const double deviation = std::sqrt(probability / (1 - probability) / length);  // of one of them
        EXPECT_NEAR(shares.mean().item<double>(), 1, 5 * deviation / std::sqrt(shares.numel()) + kind.tolerance() / 10);
        EXPECT_NEAR(shares.std().item<double>(), deviation, 0.1 * deviation);
        for (const std::int64_t other : {1, 2}) {
            EXPECT_FALSE(shares.select(2, 0).equal(shares.select(2, other))) << "heads are dropped alike";
            EXPECT_FALSE(shares.select(0, 0).equal(shares.select(0, other))) << "sequences are dropped alike";
            EXPECT_FALSE(shares.select(1, 0).equal(shares.select(1, other))) << "queries are dropped alike";
        }
        EXPECT_FALSE(once().equal(shares)) << "the next call drops the same";
        seed(1);
        EXPECT_TRUE(once().equal(shares)) << "the step's seed does not repeat it";
    }
}

INSTANTIATE_TEST_SUITE_P(On, FusedAttention, ::testing::Values(torch::kCPU, torch::kCUDA),
                         [](const auto& test) { return test.param == torch::kCPU ? "stand_in" : "cuda"; });

TEST(FusedAttentions, TakeHeadsOfWholeVectors) {
    for (const std::int64_t size : {8, 64, 256, 264}) EXPECT_TRUE(fused_attention_takes(size)) << size;
    for (const std::int64_t size : {1, 4, 12, 60}) EXPECT_FALSE(fused_attention_takes(size)) << size;
    EXPECT_FALSE(fused_attention_can(torch::zeros({4, 64}), 1)) << "on the CPU";
}

TEST(PaddedRows, AreAsManyForEachSequence) {
    const LayoutPointer layout = layout_of({3, 1, 20});
    const PaddedRows rows = layout->padded_on(torch::kCPU);
    EXPECT_EQ(rows.length, 32);
    ASSERT_EQ(rows.mask.sizes(), torch::IntArrayRef({3, 1, 1, 32}));
    ASSERT_EQ(rows.slots.size(0), layout->rows());
    for (std::int64_t row = 0, b = 0; b < layout->sequences(); ++b) {
        for (std::int64_t i = 0; i < rows.length; ++i) {
            const bool there = i < layout->length(b);
            EXPECT_EQ(rows.mask[b][0][0][i].item<double>(), there ? 0.0 : -std::numeric_limits<double>::infinity());
            if (!there) continue;
            EXPECT_EQ(rows.slots[row++].item<std::int64_t>(), b * rows.length + i);
        }
    }
    EXPECT_TRUE(layout->padded_on(torch::kCPU).slots.is_same(rows.slots)) << "made again for each layer";
}

}  // namespace
}  // namespace strata::models
