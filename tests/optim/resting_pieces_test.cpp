// The update with pieces at rest against the one without: the same bits, and moments that are left alone.
#include "optim/resting_pieces.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <limits>
#include <random>

#include "tests/optim/update_case.h"

namespace strata::optim {
namespace {

using testing::Piece;
using testing::three_hypers;
using testing::UpdateCase;

constexpr std::int64_t piece = RestingPieces::piece;

std::vector<Piece> pieces() {
    return {
        {5 * piece + 88, 0, true}, {3, 1, true}, {40 * piece, 1, true}, {piece, 2, false}, {2 * piece + 1, 2, true}};
}

/// As training leaves what has had no gradient: moments are zero, parameters are rounded already. Every gradient is 0
/// or -0.
UpdateCase case_at_rest(ComputeType type) {
    UpdateCase memory(pieces(), 0, 1, type);
    for (std::size_t i = 0; i < memory.param.size(); ++i) {
        memory.first.data()[i] = memory.second.data()[i] = 0.0F;
        memory.grad.data()[i] = i % 2 == 0 ? 0.0F : -0.0F;
        memory.grad16.data()[i] = i % 2 == 0 ? 0 : 0x8000;
        if (type != ComputeType::fp32) memory.rounded.data()[i] = narrow(memory.param.data()[i], type);
    }
    return memory;
}

void set_gradient(UpdateCase& memory, std::size_t at, float value) {
    memory.grad.data()[at] = value;
    if (memory.type != ComputeType::fp32) memory.grad16.data()[at] = narrow(value, memory.type);
}

/// A few elements get one, the others of them lose theirs.
void change_gradients(UpdateCase& memory, std::mt19937& engine) {
    std::uniform_int_distribution<std::size_t> place(0, memory.length() - UpdateCase::margin - 1);
    for (int i = 0; i < 4; ++i) set_gradient(memory, place(engine), 0.0F);
    for (int i = 0; i < 4; ++i) set_gradient(memory, place(engine), 0.01F * static_cast<float>(i + 1));
}

std::int64_t count_at_rest(RestingPieces& resting) {
    std::int64_t count = 0;
    for (std::size_t span = 0; span < resting.spans(); ++span) {
        const auto own = resting.of(span);
        count += std::count(own.begin(), own.end(), 1);
    }
    return count;
}

class Resting : public ::testing::TestWithParam<ComputeType> {};

TEST_P(Resting, ChangesNoBit) {
    for (const int threads : {1, 3}) {
        omp_set_num_threads(threads);
        std::mt19937 engine(7);
        UpdateCase plain = case_at_rest(GetParam());
        UpdateCase memory = plain;
        RestingPieces resting(memory.spans());
        const std::int64_t all = count_at_rest(resting);
        EXPECT_EQ(all, 6 + 1 + 40 + 1 + 3);
        for (int step = 0; step < 6; ++step) {
            change_gradients(plain, engine);
            std::copy_n(plain.grad.data(), plain.grad.size(), memory.grad.data());
            std::copy_n(plain.grad16.data(), plain.grad16.size(), memory.grad16.data());
            std::vector<GroupTelemetry> expected(step == 4 ? 3 : 0), telemetry = expected;
            const UpdateControl control{.grad_scale = 0.7F, .finite = step != 2};
            fused_update_cpu(OptimizerKind::adamw, plain.spans(), three_hypers(), control, expected);
            fused_update_cpu(OptimizerKind::adamw, memory.spans(), three_hypers(), control, telemetry, &resting);
            ASSERT_TRUE(memory.same_bits(plain)) << "step " << step << ", " << threads << " threads";
            for (std::size_t g = 0; g < expected.size(); ++g) {
                EXPECT_EQ(telemetry[g].update_square_sum, expected[g].update_square_sum);
                EXPECT_EQ(telemetry[g].weight_square_sum, expected[g].weight_square_sum);
            }
        }
        EXPECT_LT(count_at_rest(resting), all);
        EXPECT_GT(count_at_rest(resting), 0);
        RestingPieces again(memory.spans());
        for (std::size_t span = 0; span < again.spans(); ++span)
            EXPECT_TRUE(std::ranges::equal(again.of(span), resting.of(span))) << "what it finds is what was kept";
    }
    omp_set_num_threads(omp_get_num_procs());
}

TEST_P(Resting, LeavesMomentsAlone) {
    UpdateCase memory = case_at_rest(GetParam());
    RestingPieces resting(memory.spans());
    const auto moment = static_cast<std::size_t>(2 * piece + 7), decayed = moment + piece;
    memory.first.data()[moment] = memory.first.data()[decayed] = 1.0F;  // behind its back, to see who looks
    set_gradient(memory, decayed + 1, 0.5F);
    const float before = memory.param.data()[moment];
    fused_update_cpu(OptimizerKind::adamw, memory.spans(), three_hypers(), {}, {}, &resting);
    EXPECT_EQ(memory.first.data()[moment], 1.0F);
    EXPECT_EQ(memory.param.data()[moment], before * three_hypers()[0].decay_factor);
    EXPECT_LT(memory.first.data()[decayed], 1.0F) << "a gradient ends the rest of its whole piece";
    EXPECT_FALSE(RestingPieces(memory.spans()).of(0)[2]);
}

TEST_P(Resting, AGradientThatIsNotANumberIsOne) {
    UpdateCase memory = case_at_rest(GetParam());
    RestingPieces resting(memory.spans());
    set_gradient(memory, 5, std::numeric_limits<float>::quiet_NaN());
    fused_update_cpu(OptimizerKind::adamw, memory.spans(), three_hypers(), {}, {}, &resting);
    EXPECT_TRUE(std::isnan(memory.param.data()[5]));
}

/// 0 / 0 is not 0.
TEST_P(Resting, NothingRestsWithoutAnEpsilon) {
    UpdateCase plain = case_at_rest(GetParam());
    UpdateCase memory = plain;
    RestingPieces resting(memory.spans());
    auto hypers = three_hypers();
    for (GroupHyper& hyper : hypers) hyper.epsilon = 0.0F;
    fused_update_cpu(OptimizerKind::adamw, plain.spans(), hypers, {});
    fused_update_cpu(OptimizerKind::adamw, memory.spans(), hypers, {}, {}, &resting);
    EXPECT_TRUE(memory.same_bits(plain));
    EXPECT_TRUE(std::isnan(memory.param.data()[0]));
}

/// Adam's decay is a gradient, SGD's moments another matter.
TEST_P(Resting, IsAdamWsAlone) {
    for (const OptimizerKind kind : {OptimizerKind::adam, OptimizerKind::sgd}) {
        UpdateCase plain = case_at_rest(GetParam());
        UpdateCase memory = plain;
        RestingPieces resting(memory.spans());
        fused_update_cpu(kind, plain.spans(), three_hypers(), {});
        fused_update_cpu(kind, memory.spans(), three_hypers(), {}, {}, &resting);
        EXPECT_TRUE(memory.same_bits(plain));
    }
}

INSTANTIATE_TEST_SUITE_P(Types, Resting, ::testing::Values(ComputeType::fp32, ComputeType::bf16, ComputeType::fp16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

TEST(RestingPieces, AreOfTheSameSpans) {
    UpdateCase memory = case_at_rest(ComputeType::fp32);
    RestingPieces resting(memory.spans());
    EXPECT_THROW(fused_update_cpu(OptimizerKind::adamw, memory.spans(1000), three_hypers(), {}, {}, &resting),
                 std::logic_error);
}

}  // namespace
}  // namespace strata::optim
