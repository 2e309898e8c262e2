#include "optim/fused_update.h"
#include "update_case.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>
#include <vector>

namespace strata::optim {
namespace {

using testing::Piece;
using testing::UpdateCase;

std::vector<Piece> pieces() {
    return {{100'003, 0, true}, {17, 0, false}, {1, 1, true}, {32'768, 1, false}, {16'385, 2, true}, {3, 2, false}};
}

/// Of gradients at these addresses, as one span.
double square_sum(const float* values, std::int64_t elements) {
    UpdateSpan span;
    span.grad = values;
    span.elements = elements;
    double sum = -1.0;
    EXPECT_EQ(square_sums_cpu({&span, 1}, {&sum, 1}), std::isfinite(sum));
    return sum;
}

TEST(SquareSum, IsTheSum) {
    for (const std::int64_t elements : {0, 1, 15, 16, 17, 16'384, 16'385, 50'000}) {
        std::vector<float> values(static_cast<std::size_t>(elements));
        double expected = 0.0;
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = std::sin(static_cast<float>(i)) * 3.0F;
            expected += static_cast<double>(values[i]) * values[i];
        }
        EXPECT_NEAR(square_sum(values.data(), elements), expected, 1e-12 * expected) << elements;
    }
}

TEST(SquareSum, LargeFloatsDoNotOverflow) {
    const std::vector<float> values(1000, std::numeric_limits<float>::max());
    EXPECT_TRUE(std::isfinite(square_sum(values.data(), 1000)));
}

TEST(SquareSums, AddUpForEachGroup) {
    UpdateCase memory(pieces(), 0, 1);
    std::vector<double> sums(4, 5.0);  // a fourth group that has no span here
    EXPECT_TRUE(square_sums_cpu(memory.spans(), sums));
    std::vector<double> expected(4);
    for (const UpdateSpan& span : memory.spans()) {
        for (std::int64_t i = 0; i < span.elements; ++i) {
            expected[static_cast<std::size_t>(span.group)] += static_cast<double>(span.grad[i]) * span.grad[i];
        }
    }
    for (std::size_t g = 0; g < 4; ++g) EXPECT_NEAR(sums[g], expected[g], 1e-12 * expected[g]);
}

TEST(SquareSums, Of16BitGradientsAreThoseOfTheSameFloats) {
    for (const ComputeType type : {ComputeType::bf16, ComputeType::fp16}) {
        UpdateCase memory(pieces(), 0, 1, type);
        UpdateCase floats = memory;
        floats.type = ComputeType::fp32;
        widen(floats.grad16.data(), floats.grad.data(), static_cast<std::int64_t>(floats.grad.size()), type);
        std::vector<double> expected(3);
        std::vector<double> sums(3);
        square_sums_cpu(floats.spans(), expected);
        EXPECT_TRUE(square_sums_cpu(memory.spans(777), sums));
        EXPECT_EQ(sums, expected) << name_of(type);
        EXPECT_EQ(tile_square_sums_cpu(memory.spans(), 4096), tile_square_sums_cpu(floats.spans(), 4096));
        memory.grad16.data()[70'000] = type == ComputeType::bf16 ? 0x7F80 : 0x7C00;
        EXPECT_FALSE(square_sums_cpu(memory.spans(), sums)) << "infinity in " << name_of(type);
    }
}

TEST(SquareSums, DependNeitherOnThreadsNorOnCuts) {
    UpdateCase memory(pieces(), 0, 2);
    const int threads_before = omp_get_max_threads();
    std::vector<double> expected(3);
    omp_set_num_threads(1);
    square_sums_cpu(memory.spans(), expected);
    for (const int threads : {1, 2, 5}) {
        omp_set_num_threads(threads);
        for (const std::int64_t cut : {std::int64_t{1} << 40, std::int64_t{999}, std::int64_t{16'384}}) {
            std::vector<double> sums(3);
            square_sums_cpu(memory.spans(cut), sums);
            EXPECT_EQ(sums, expected) << threads << " threads, cut every " << cut;
        }
    }
    omp_set_num_threads(threads_before);
}

TEST(SquareSums, TellWhatIsNotFiniteWhereverItIs) {
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
        UpdateCase memory(pieces(), 0, 3);
        const std::size_t content = memory.length() - UpdateCase::margin;
        for (const std::size_t at : {std::size_t{0}, std::size_t{17}, std::size_t{100'002}, content - 1}) {
            UpdateCase spoiled = memory;
            spoiled.grad.data()[at] = bad;
            std::vector<double> sums(3);
            EXPECT_FALSE(square_sums_cpu(spoiled.spans(), sums)) << at;
        }
    }
}

TEST(SquareSums, NoSpansSumToZero) {
    std::vector<double> sums(2, 1.0);
    EXPECT_TRUE(square_sums_cpu({}, sums));
    EXPECT_EQ(sums, (std::vector<double>{0.0, 0.0}));
}

}  // namespace
}  // namespace strata::optim
