#include "optim/compute_type.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace strata::optim {
namespace {

/// The compiler's own fp16, by hardware or library.
float by_compiler(std::uint16_t bits) {
    return static_cast<float>(std::bit_cast<_Float16>(bits));
}

std::uint16_t by_compiler(float value) {
    return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}

/// Every float around every border: each pattern of the upper bits with a few lower ones.
std::vector<float> many_floats() {
    std::vector<float> values;
    for (std::uint32_t upper = 0; upper < 0x10000U; ++upper) {
        for (const std::uint32_t lower : {0x0U, 0x1U, 0x0FFFU, 0x1000U, 0x1001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
            values.push_back(std::bit_cast<float>(upper << 16U | lower));
        }
    }
    return values;
}

TEST(ComputeType, Fp16IsTheCompilersBothWays) {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float expected = by_compiler(half);
        const float actual = fp16_to_float(half);
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(actual)) << bits;
            continue;
        }
        ASSERT_EQ(std::bit_cast<std::uint32_t>(actual), std::bit_cast<std::uint32_t>(expected)) << bits;
        ASSERT_EQ(float_to_fp16(actual), half);
    }
    for (const float value : many_floats()) {
        if (std::isnan(value)) {
            ASSERT_TRUE(std::isnan(fp16_to_float(float_to_fp16(value))));
        } else {
            ASSERT_EQ(float_to_fp16(value), by_compiler(value)) << value;
        }
    }
}

TEST(ComputeType, Bf16RoundsToNearestTiesToEven) {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = bf16_to_float(half);
        if (std::isnan(value)) {
            ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(value))));
        } else {
            ASSERT_EQ(float_to_bf16(value), half);
        }
    }
    EXPECT_EQ(float_to_bf16(1.0F + 0x1p-8F), float_to_bf16(1.0F)) << "a tie, to even";
    EXPECT_EQ(float_to_bf16(1.0F + 3 * 0x1p-8F), float_to_bf16(1.0F + 0x1p-6F)) << "a tie, to even";
    EXPECT_EQ(float_to_bf16(std::nextafter(1.0F + 0x1p-8F, 2.0F)), float_to_bf16(1.0F + 0x1p-7F));
    EXPECT_EQ(bf16_to_float(float_to_bf16(std::numeric_limits<float>::max())), std::numeric_limits<float>::infinity());
}

TEST(ComputeType, ManyAreConvertedAsOne) {
    const std::vector<float> values = many_floats();
    const auto count = static_cast<std::int64_t>(values.size());
    for (const ComputeType type : {ComputeType::bf16, ComputeType::fp16}) {
        std::vector<std::uint16_t> narrowed(values.size());
        std::vector<float> widened(values.size());
        narrow(values.data(), narrowed.data(), count, type);
        widen(narrowed.data(), widened.data(), count, type);
        for (std::size_t i = 0; i < values.size(); ++i) {
            ASSERT_EQ(narrowed[i], narrow(values[i], type)) << values[i];
            ASSERT_EQ(std::bit_cast<std::uint32_t>(widened[i]), std::bit_cast<std::uint32_t>(widen(narrowed[i], type)));
        }
        std::vector<float> sums(values.size(), 0.375F);
        add_widened(narrowed.data(), sums.data(), count, type);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const float sum = 0.375F + widened[i];
            ASSERT_TRUE(sums[i] == sum || (std::isnan(sums[i]) && std::isnan(sum))) << values[i];
        }
    }
}

}  // namespace
}  // namespace strata::optim
