#include "data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <set>

#include "data/micro_batches.h"
#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Samples = std::vector<std::int64_t>;

// Fixed for ever: another order after an upgrade would make a resumed run see some samples twice.
TEST(Sampler, OrderIsPinned) {
    EXPECT_THAT(epoch_order(42, 0, 10, true), ElementsAre(4, 9, 8, 7, 3, 6, 5, 2, 1, 0));
    EXPECT_THAT(epoch_order(42, 1, 10, true), ElementsAre(0, 1, 6, 5, 4, 3, 9, 8, 2, 7));
}

TEST(Sampler, OrderIsAPermutationThatDependsOnSeedAndEpoch) {
    for (const std::int64_t n : {1, 2, 3, 100, 1001}) {
        Samples order = epoch_order(7, 3, n, true);
        std::sort(order.begin(), order.end());
        Samples all(static_cast<std::size_t>(n));
        std::iota(all.begin(), all.end(), 0);
        EXPECT_EQ(order, all);
    }
    std::set<Samples> orders;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        for (std::int64_t epoch = 0; epoch < 10; ++epoch) orders.insert(epoch_order(seed, epoch, 50, true));
    }
    EXPECT_EQ(orders.size(), 100u);
}

// Each of 5 samples should be at each of 5 places in a fifth of 20,000 epochs: 4,000 ± 5 standard deviations (57).
TEST(Sampler, OrderIsFair) {
    std::map<std::pair<std::size_t, std::int64_t>, int> seen;
    for (std::int64_t epoch = 0; epoch < 20000; ++epoch) {
        const auto order = epoch_order(1, epoch, 5, true);
        for (std::size_t place = 0; place < 5; ++place) ++seen[{place, order[place]}];
    }
    EXPECT_EQ(seen.size(), 25u);
    for (const auto& [key, count] : seen) EXPECT_NEAR(count, 4000, 285) << key.first << " " << key.second;
}

TEST(Sampler, WithoutShufflingIsFileOrderWithThePartialBatchKept) {
    EXPECT_EQ(steps_per_epoch(10, 4), 3);
    EXPECT_EQ(steps_per_epoch(8, 4), 2);
    EXPECT_EQ(steps_per_epoch(3, 4), 1);
    EXPECT_THAT(global_batch(9, 5, 0, 10, 4, false), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(global_batch(9, 5, 2, 10, 4, false), ElementsAre(8, 9));
}

TEST(Sampler, CacheGivesThePureFunctionInAnyOrderOfSteps) {
    Sampler sampler(11, 103, 10, true);
    EXPECT_EQ(sampler.steps_per_epoch(), 11);
    for (const auto& [epoch, step] : {std::pair<int, int>{4, 10}, {4, 0}, {0, 3}, {4, 10}, {1, 1}}) {
        const auto batch = sampler.global_batch(epoch, step);
        EXPECT_EQ(Samples(batch.begin(), batch.end()), global_batch(11, epoch, step, 103, 10, true));
    }
}

TEST(Sampler, StepsDoNotDependOnRanksAtEqualGlobalBatch) {
    const std::int64_t n = 50;
    for (const BatchShape shape : {BatchShape{12, 1, 1}, {6, 2, 1}, {4, 3, 1}, {3, 4, 1}, {3, 2, 2}, {1, 3, 4}}) {
        Sampler sampler(3, n, shape.global_size(), true);
        for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
            const auto whole = global_batch(3, 0, step, n, 12, true);
            const auto batch = sampler.global_batch(0, step);
            EXPECT_EQ(Samples(batch.begin(), batch.end()), whole);
        }
    }
}

TEST(Sampler, RefusesMoreRanksThanSamples) {
    require_samples_for_ranks(4, 4, "train.tsv");
    const auto message = user_error_of([] { require_samples_for_ranks(3, 4, "train.tsv"); });
    EXPECT_THAT(message, HasSubstr("train.tsv: 3 samples for 4 ranks"));
    EXPECT_THAT(message, HasSubstr("mpirun -np 3"));
    EXPECT_THROW(Sampler(1, 0, 8, true), UserError);
}

TEST(Sampler, WrongStepsAreBugs) {
    EXPECT_THROW(global_batch(1, 0, 3, 10, 4, true), std::logic_error);
    EXPECT_THROW(global_batch(1, 0, -1, 10, 4, true), std::logic_error);
}

// QQP has 364,000 samples; were each of 11,000 steps to shuffle them anew, an epoch would take minutes.
TEST(Sampler, AnEpochOfManySamplesIsQuick) {
    const auto start = std::chrono::steady_clock::now();
    Sampler sampler(1, 400000, 32, true);
    std::int64_t sum = 0;
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
        for (const auto sample : sampler.global_batch(0, step)) sum += sample;
    }
    EXPECT_EQ(sum, 400000LL * 399999 / 2);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

}  // namespace
}  // namespace strata::data
