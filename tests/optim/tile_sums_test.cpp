// The kernels' two-stage sums, walked on the host: telemetry of every update, gradient square sums, LAMB's tensor sums,
// against the CPU's, which add in another order, and against themselves on other grids, bit for bit.
#include "optim/tile_sums.h"

#include "fused_update_device.h"
#include "kernel_walk.h"
#include "optim/device.h"
#include "update_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace strata::optim {
namespace {

using testing::Piece;
using testing::three_hypers;
using testing::UpdateCase;

/// In the order of their groups; the third tensor is empty, and so is the fourth group.
std::vector<Piece> pieces() {
    return {{40'009, 0, true}, {1, 0, false}, {0, 1, true}, {16'384, 1, true}, {5, 2, false}, {12'289, 2, true}};
}

struct Walked {
    std::vector<SumPair> tile_sums;
    std::vector<std::int64_t> groups;
    std::vector<std::int64_t> tensors;
};

/// One measuring pass over the case on a grid of `blocks`.
Walked walk_case(Pass pass, UpdateCase& memory, std::int64_t blocks, const UpdateControl& control = {},
                 const std::vector<double>& tensor_sums = {}) {
    const auto spans = memory.spans();
    const auto hypers = three_hypers();
    const auto tiles = first_tiles(spans);
    Walked out{std::vector<SumPair>(static_cast<std::size_t>(tiles.back()), {-1.0, -1.0}), group_bins(spans, 4),
               tensor_bins(spans, 7)};
    const UpdateTables tables{
        spans.data(), tiles.data(),         hypers.data(),     &control, static_cast<std::int64_t>(spans.size()),
        tiles.back(), out.tile_sums.data(), tensor_sums.data()};
    testing::walk(pass, true, tables, blocks, kernel_threads);
    return out;
}

void expect_relative(const std::vector<double>& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12 * expected[i]) << i;
}

std::vector<double> flat(const std::vector<GroupTelemetry>& telemetry) {
    std::vector<double> out;
    for (const GroupTelemetry& group : telemetry) {
        out.push_back(group.update_square_sum);
        out.push_back(group.weight_square_sum);
    }
    return out;
}

std::vector<GroupHyper> four_hypers() {
    auto hypers = three_hypers();
    hypers.emplace_back();
    return hypers;
}

TEST(TileSums, TelemetryIsTheCpusAndLeavesTheUpdateAlone) {
    for (const auto& [kind, pass] : {std::pair{OptimizerKind::adamw, Pass::adamw},
                                     {OptimizerKind::adam, Pass::adam},
                                     {OptimizerKind::sgd, Pass::sgd}}) {
        for (const std::int64_t start : {0, 3}) {
            UpdateCase expected(pieces(), start, 1);
            UpdateCase actual = expected;
            std::vector<GroupTelemetry> telemetry(4);
            fused_update_cpu(kind, expected.spans(), four_hypers(), {.grad_scale = 0.7F}, telemetry);
            const Walked walked = walk_case(pass, actual, 3, {.grad_scale = 0.7F});
            EXPECT_TRUE(actual.same_bits(expected));
            expect_relative(testing::walk_bins(walked.tile_sums, walked.groups, 2, 2), flat(telemetry));
            EXPECT_GT(telemetry[0].update_square_sum, 0.0);
            EXPECT_EQ(telemetry[3].weight_square_sum, 0.0);
        }
    }
}

TEST(TileSums, GradientSquareSumsAreTheCpus) {
    for (const std::int64_t start : {0, 1, 2}) {
        UpdateCase memory(pieces(), start, 2);
        const UpdateCase before = memory;
        std::vector<double> expected(4);
        square_sums_cpu(memory.spans(), expected);
        const Walked walked = walk_case(Pass::square_sum, memory, 2);
        expect_relative(testing::walk_bins(walked.tile_sums, walked.groups, 1, 3), expected);
        EXPECT_TRUE(memory.same_bits(before));
    }
}

TEST(TileSums, WhatIsNotFiniteShows) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        for (const std::size_t at : {std::size_t{0}, std::size_t{40'010}, std::size_t{68'687}}) {
            UpdateCase memory(pieces(), 0, 3);
            memory.grad.data()[at] = bad;
            const Walked walked = walk_case(Pass::square_sum, memory, 2);
            double total = 0.0;
            for (const double sum : testing::walk_bins(walked.tile_sums, walked.groups, 1, 3)) total += sum;
            EXPECT_FALSE(std::isfinite(total)) << at;
        }
    }
}

TEST(TileSums, LambsTensorSumsAreTheCpus) {
    UpdateCase expected(pieces(), 1, 4);
    UpdateCase actual = expected;
    std::vector<double> sums(14, 5.0);
    lamb_moments_cpu(expected.spans(), three_hypers(), {.grad_scale = 0.5F}, sums);
    const Walked walked = walk_case(Pass::lamb_moments, actual, 4, {.grad_scale = 0.5F});
    EXPECT_TRUE(actual.same_bits(expected));
    expect_relative(testing::walk_bins(walked.tile_sums, walked.tensors, 2, 1), sums);
    EXPECT_EQ(sums[4] + sums[5], 0.0);    // the empty tensor
    EXPECT_EQ(sums[12] + sums[13], 0.0);  // one that is not here

    std::vector<GroupTelemetry> telemetry(4);
    lamb_apply_cpu(expected.spans(), four_hypers(), {}, sums, telemetry);
    const Walked applied = walk_case(Pass::lamb_apply, actual, 4, {}, sums);
    EXPECT_TRUE(actual.same_bits(expected));
    expect_relative(testing::walk_bins(applied.tile_sums, applied.groups, 2, 1), flat(telemetry));
}

TEST(TileSums, AreTheSameBitsOnAnyGrid) {
    for (const Pass pass : {Pass::adamw, Pass::lamb_moments, Pass::square_sum}) {
        UpdateCase first(pieces(), 1, 5);
        const UpdateCase before = first;
        const Walked expected = walk_case(pass, first, 1);
        const auto sums = testing::walk_bins(expected.tile_sums, expected.groups, 2, 1);
        for (const std::int64_t blocks : {2, 7, 100}) {
            UpdateCase again = before;
            const Walked walked = walk_case(pass, again, blocks);
            EXPECT_EQ(testing::walk_bins(walked.tile_sums, walked.groups, 2, blocks), sums);
        }
    }
}

TEST(TileSums, AreZeroWhenNothingIsUpdated) {
    for (const Pass pass : {Pass::adamw, Pass::lamb_moments}) {
        UpdateCase memory(pieces(), 0, 6);
        const Walked walked = walk_case(pass, memory, 2, {.finite = false});
        for (const double sum : testing::walk_bins(walked.tile_sums, walked.groups, 2, 2)) EXPECT_EQ(sum, 0.0);
    }
}

TEST(TileSums, BinsMustBeInOrder) {
    UpdateCase memory({{5, 1, true}, {5, 0, true}}, 0, 7);
    EXPECT_THROW(group_bins(memory.spans(), 2), std::logic_error);
    EXPECT_THROW(tensor_bins(memory.spans(), 1), std::logic_error);
    EXPECT_EQ(group_bins({}, 2), (std::vector<std::int64_t>{0, 0, 0}));
}

#ifdef STRATA_WITH_CUDA
TEST(TileSums, OnTheGpuAreTheWalksBits) {
    if (device_count() == 0) GTEST_SKIP() << "sums on CUDA: no GPU here";
    for (const Pass pass : {Pass::adamw, Pass::adam, Pass::sgd, Pass::lamb_moments, Pass::square_sum}) {
        UpdateCase walked_memory(pieces(), 1, 8);
        UpdateCase memory = walked_memory;
        const Walked walked = walk_case(pass, walked_memory, 3);
        const bool by_tensor = pass == Pass::lamb_moments;
        const int width = pass == Pass::square_sum ? 1 : 2;
        const auto& bins = by_tensor ? walked.tensors : walked.groups;
        EXPECT_EQ(testing::sums_on_device(pass, memory, memory.spans(), three_hypers(), bins, width),
                  testing::walk_bins(walked.tile_sums, bins, width, 3));
        EXPECT_TRUE(memory.same_bits(walked_memory));
    }
}
#endif

}  // namespace
}  // namespace strata::optim
