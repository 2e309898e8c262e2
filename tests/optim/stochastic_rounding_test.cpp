#include "optim/stochastic_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace strata::optim {
namespace {

constexpr std::uint32_t randoms = 0x10000U;
constexpr std::uint16_t some_randoms[] = {0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFF};

float of_bits(std::uint32_t bits) {
    return std::bit_cast<float>(bits);
}

TEST(StochasticRounding, LeavesWhatBf16Holds) {
    for (std::uint32_t upper = 0; upper < 0x10000U; ++upper) {
        const float value = of_bits(upper << 16U);
        for (const std::uint16_t random : some_randoms) {
            const float rounded = round_to_bf16(value, random);
            if (std::isnan(value)) {
                ASSERT_TRUE(std::isnan(rounded));
                ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(rounded))));
            } else {
                ASSERT_EQ(std::bit_cast<std::uint32_t>(rounded), upper << 16U);
            }
        }
    }
    for (const std::uint32_t nan : {0x7F800001U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
        ASSERT_TRUE(std::isnan(round_to_bf16(of_bits(nan), 0xFFFF))) << "not by a carry another number";
    }
}

TEST(StochasticRounding, GoesAwayFromZeroByExactlyTheFraction) {
    for (const float value : {1.0F, 1.3F, 0.001F, 123456.0F, 1e-41F, 1e-44F, 3.0e38F, of_bits(0x3FFFFFFFU)}) {
        for (const float sign : {1.0F, -1.0F}) {
            const auto bits = std::bit_cast<std::uint32_t>(sign * value);
            const float towards = of_bits(bits & 0xFFFF0000U);
            const float away = of_bits((bits & 0xFFFF0000U) + 0x10000U);
            std::uint32_t gone = 0;
            for (std::uint32_t random = 0; random < randoms; ++random) {
                const float rounded = round_to_bf16(sign * value, static_cast<std::uint16_t>(random));
                ASSERT_TRUE(rounded == towards || rounded == away) << sign * value;
                if (rounded != towards) ++gone;
            }
            EXPECT_EQ(gone, bits & 0xFFFFU) << sign * value << ": of 65536, so the mean is the value";
        }
    }
}

TEST(StochasticRounding, OverflowsWhereNearestDoesAndNowhereElse) {
    for (const std::uint32_t bits : {0x7F7F0000U, 0x7F7F0001U, 0x7F7F7FFFU, 0x7F7F8000U, 0x7F7FFFFFU, 0x7F800000U}) {
        for (const std::uint32_t sign : {0U, 0x80000000U}) {
            const float value = of_bits(sign | bits);
            for (const std::uint16_t random : some_randoms) {
                EXPECT_EQ(round_to_bf16(value, random), bf16_to_float(float_to_bf16(value))) << value;
            }
        }
    }
    EXPECT_EQ(round_to_bf16(of_bits(0x7F7EFFFFU), 0xFFFF), of_bits(0x7F7F0000U)) << "the largest is a neighbour";
}

/// The share of `count` roundings of 1 + fraction of a bf16's last bit that go up. `key_of(i)`, `element_of(i)`.
template <typename KeyOf, typename ElementOf>
double share_of_ups(double fraction, int count, KeyOf key_of, ElementOf element_of) {
    const auto value = static_cast<float>(1.0 + fraction * 0x1p-7);
    int ups = 0;
    for (int i = 0; i < count; ++i) ups += round_to_bf16(value, key_of(i), element_of(i)) > 1.0F ? 1 : 0;
    return static_cast<double>(ups) / count;
}

/// Over elements of a step, over steps of an element, over parameters: five standard deviations of a fair draw.
TEST(StochasticRounding, HasTheValueForItsMean) {
    constexpr int count = 1 << 20;
    for (const double fraction : {0.01, 0.25, 0.5, 0.9}) {
        const double bound = 5 * std::sqrt(fraction * (1 - fraction) / count);
        const auto first = [](int) { return 0U; };
        const auto number = [](int i) { return static_cast<std::uint32_t>(i); };
        const auto one_key = [](int) { return rounding_key(rounding_step_key(42, 7), name_key("weight")); };
        const auto of_step = [](int i) { return rounding_key(rounding_step_key(42, i), name_key("weight")); };
        const auto of_parameter = [](int i) {
            return rounding_key(rounding_step_key(42, 7), mix64(static_cast<std::uint64_t>(i)));
        };
        EXPECT_NEAR(share_of_ups(fraction, count, one_key, number), fraction, bound);
        EXPECT_NEAR(share_of_ups(fraction, count, of_step, first), fraction, bound);
        EXPECT_NEAR(share_of_ups(fraction, count, of_parameter, first), fraction, bound);
    }
}

/// Whether two sequences of draws go the same way as often as fair ones that know nothing of one another.
void expect_independent(std::uint64_t key_a, std::uint64_t key_b, std::uint32_t shift) {
    constexpr int count = 1 << 18;
    const float half = 1.0F + 0x1p-8F;
    int same = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        same += round_to_bf16(half, key_a, i) == round_to_bf16(half, key_b, i + shift) ? 1 : 0;
    }
    EXPECT_NEAR(same, count / 2, 5 * std::sqrt(count / 4.0)) << "shifted by " << shift;
}

TEST(StochasticRounding, DrawsOfStepsParametersSeedsAndNeighboursAreApart) {
    const std::uint64_t key = rounding_key(rounding_step_key(42, 7), name_key("encoder.weight"));
    expect_independent(key, rounding_key(rounding_step_key(42, 8), name_key("encoder.weight")), 0);
    expect_independent(key, rounding_key(rounding_step_key(43, 7), name_key("encoder.weight")), 0);
    expect_independent(key, rounding_key(rounding_step_key(42, 7), name_key("encoder.bias")), 0);
    for (const std::uint32_t shift : {1U, 2U, 64U, 768U}) expect_independent(key, key, shift);
}

/// A run that goes on rounds as it did when it began, with whatever version.
TEST(StochasticRounding, KeysAreWhatTheyWere) {
    EXPECT_EQ(rounding_step_key(42, 7), 0xAAAFE8F277BDFEDCU);
    EXPECT_EQ(rounding_key(rounding_step_key(42, 7), name_key("weight")), 0xC0AD2E72D8DD72FDU);
}

TEST(StochasticRounding, ManyAreRoundedAsOneWhereverARunIsCut) {
    std::vector<float> values;
    for (std::uint32_t i = 0; i < 5000; ++i) values.push_back(of_bits(i * 858'993U));  // NaNs and infinities among them
    const std::uint64_t key = rounding_key(1, 2);
    constexpr std::int64_t first = (std::int64_t{1} << 32) - 100;
    for (const std::size_t cut : {std::size_t{5000}, std::size_t{1}, std::size_t{37}, std::size_t{512}}) {
        std::vector<float> rounded = values;
        for (std::size_t at = 0; at < rounded.size(); at += cut) {
            const auto size = static_cast<std::int64_t>(std::min(cut, rounded.size() - at));
            round_to_bf16(&rounded[at], size, key, first + static_cast<std::int64_t>(at));
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
            const float expected =
                round_to_bf16(values[i], key, static_cast<std::uint32_t>(first + static_cast<std::int64_t>(i)));
            ASSERT_EQ(std::bit_cast<std::uint32_t>(rounded[i]), std::bit_cast<std::uint32_t>(expected)) << values[i];
        }
    }
}

}  // namespace
}  // namespace strata::optim
