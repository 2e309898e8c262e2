#include "data/micro_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace strata::data {
namespace {

using testing::ElementsAre;

using Lengths = std::vector<std::int64_t>;

Lengths random_lengths(std::int64_t count, unsigned seed) {
    std::mt19937 generator(seed);
    Lengths lengths(static_cast<std::size_t>(count));
    for (std::int64_t& length : lengths) length = 3 + static_cast<std::int64_t>(generator() % 60);
    return lengths;
}

std::int64_t tokens_of(const Positions& part, const Lengths& lengths) {
    return std::accumulate(part.begin(), part.end(), std::int64_t{0}, [&](std::int64_t sum, std::int64_t position) {
        return sum + lengths[static_cast<std::size_t>(position)];
    });
}

TEST(MicroBatches, HoldEveryPositionOnceAndInOrder) {
    for (const std::int64_t per_device : {1, 2, 5, 8}) {
        for (const std::int64_t ranks : {1, 2, 3, 4, 7}) {
            for (const std::int64_t accumulation : {1, 2, 3}) {
                const BatchShape shape{per_device, ranks, accumulation};
                for (std::int64_t size = 1; size <= shape.global_size(); ++size) {
                    const Lengths lengths = random_lengths(size, static_cast<unsigned>(size));
                    Positions seen;
                    for (std::int64_t micro = 0; micro < accumulation; ++micro) {
                        Positions own;
                        for (const Positions& part : micro_batch(shape, lengths, micro)) {
                            ASSERT_LE(std::ssize(part), per_device);
                            ASSERT_TRUE(std::is_sorted(part.begin(), part.end()));
                            own.insert(own.end(), part.begin(), part.end());
                        }
                        std::sort(own.begin(), own.end());
                        seen.insert(seen.end(), own.begin(), own.end());
                    }
                    Positions all(static_cast<std::size_t>(size));
                    std::iota(all.begin(), all.end(), 0);
                    ASSERT_EQ(seen, all) << per_device << " " << ranks << " " << accumulation;
                }
            }
        }
    }
}

TEST(MicroBatches, OfEqualLengthsAreCutAsHuggingFaceCutsThem) {
    const BatchShape shape{2, 3, 2};  // micro-batch 0 is 0..5, micro-batch 1 is 6..11; each rank takes a run of 2
    const Lengths lengths(12, 7);
    EXPECT_THAT(micro_batch(shape, lengths, 0), ElementsAre(Positions{0, 1}, Positions{2, 3}, Positions{4, 5}));
    EXPECT_THAT(micro_batch(shape, lengths, 1), ElementsAre(Positions{6, 7}, Positions{8, 9}, Positions{10, 11}));
}

TEST(MicroBatches, AreDealtByLength) {
    EXPECT_THAT(micro_batch({2, 2, 1}, Lengths{10, 9, 2, 1}, 0), ElementsAre(Positions{0, 3}, Positions{1, 2}));
    // A rank that has its number of samples gets no more, however few its tokens.
    EXPECT_THAT(micro_batch({2, 2, 1}, Lengths{1, 1, 50, 1}, 0), ElementsAre(Positions{2, 3}, Positions{0, 1}));
    EXPECT_THAT(micro_batch({4, 1, 1}, Lengths{1, 9, 2, 5}, 0), ElementsAre(Positions{0, 1, 2, 3}));
}

// Cut into runs, the rank with the most has 1.2 times the mean on 8 ranks.
TEST(MicroBatches, RanksHaveNearlyTheSameTokens) {
    for (const std::int64_t ranks : {2, 4, 8}) {
        for (unsigned seed = 0; seed < 20; ++seed) {
            const Lengths lengths = random_lengths(16 * ranks, seed);
            std::int64_t most = 0, all = 0;
            for (const Positions& part : micro_batch({16, ranks, 1}, lengths, 0)) {
                most = std::max(most, tokens_of(part, lengths));
                all += tokens_of(part, lengths);
            }
            EXPECT_LE(static_cast<double>(most * ranks), 1.01 * static_cast<double>(all)) << ranks << " " << seed;
        }
    }
}

TEST(MicroBatches, NoRankIsIdleInASmallerBatchWithASampleForEach) {
    for (const BatchShape shape : {BatchShape{8, 4, 1}, {2, 7, 3}, {1, 3, 4}, {5, 2, 2}}) {
        for (std::int64_t size = 1; size <= shape.global_size(); ++size) {
            const Lengths lengths = random_lengths(size, 5);
            std::vector<std::int64_t> loads(static_cast<std::size_t>(shape.ranks));
            for (std::int64_t micro = 0; micro < shape.accumulation; ++micro) {
                const auto parts = micro_batch(shape, lengths, micro);
                for (std::size_t rank = 0; rank < loads.size(); ++rank) loads[rank] += std::ssize(parts[rank]);
            }
            const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
            EXPECT_LE(*most - *least, 1) << "uneven: " << size;
            if (size >= shape.ranks) {
                EXPECT_GE(*least, 1) << "idle: " << size;
            }
        }
    }
}

TEST(MicroBatches, AFixedCutKnowsNoRanks) {
    EXPECT_THAT(fixed_micro_batch(3, 8, 0), ElementsAre(0, 1, 2));
    EXPECT_THAT(fixed_micro_batch(3, 8, 2), ElementsAre(6, 7));
    EXPECT_THAT(fixed_micro_batch(3, 8, 3), ElementsAre());
}

TEST(MicroBatches, SamplesAreThoseAtThePositions) {
    EXPECT_THAT(samples_at(std::vector<std::int64_t>{40, 50, 60}, {0, 2}), ElementsAre(40, 60));
}

TEST(MicroBatches, WrongOnesAreBugs) {
    EXPECT_THROW(micro_batch({2, 2, 1}, Lengths(5, 1), 0), std::logic_error);
    EXPECT_THROW(micro_batch({2, 2, 1}, Lengths(4, 1), 1), std::logic_error);
}

}  // namespace
}  // namespace strata::data
