// A training run that loses a rank at any moment ends soon, with one message and no process left, and goes on from its
// newest checkpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <random>
#include <thread>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"
#include "tests/faults/long_run.h"
#include "tests/support/command.h"

namespace strata::testing_support {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

struct Loss {
    int signal;
    int rank;
};

class LostRank : public testing::TestWithParam<Loss> {};

TEST_P(LostRank, EndsTheRunWhichGoesOnFromItsNewestCheckpoint) {
    const auto [signal, rank] = GetParam();
    constexpr int ranks = 3;
    const ScratchFolder scratch;
    const auto flags = long_run(ranks, scratch / "run");
    BackgroundJob job(ranks, flags, scratch / "log");
    ASSERT_TRUE(reaches(job, scratch / "run", 30)) << bytes_of(scratch / "log");
    std::mt19937 random(static_cast<unsigned>(signal * 10 + rank));
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));  // anywhere in an update or a save
    ASSERT_TRUE(signal_rank(scratch / "run", rank, signal)) << bytes_of(scratch / "log");

    // 2 s of silence, 3 s for a first word, 5 s of grace.
    // mpirun's code is the first that it hears of: how the rank died, or, on a busy machine, how the others end.
    EXPECT_THAT(job.wait(20), AnyOf(1, signal == SIGKILL ? 128 + SIGKILL : 1)) << bytes_of(scratch / "log");
    EXPECT_TRUE(all_gone(scratch / "run", ranks, 10));
    const std::string output = bytes_of(scratch / "log");
    EXPECT_EQ(count(output, "strata: "), 1) << output;
    EXPECT_THAT(output, HasSubstr("strata: rank " + std::to_string(rank) + " on "));
    EXPECT_THAT(output, HasSubstr(signal == SIGKILL ? "died" : "has not been heard of for 2 s"));

    const auto resumed = run_strata(ranks, goes_on(flags, scratch / "run"));
    expect_success(resumed);
    EXPECT_THAT(resumed.output, HasSubstr("going on from"));
}

INSTANTIATE_TEST_SUITE_P(Faults, LostRank,
                         testing::Values(Loss{SIGKILL, 0}, Loss{SIGKILL, 1}, Loss{SIGKILL, 2}, Loss{SIGSTOP, 0},
                                         Loss{SIGSTOP, 1}, Loss{SIGSTOP, 2}),
                         [](const auto& test) {
                             return std::string(test.param.signal == SIGKILL ? "killed_" : "stopped_") +
                                    std::to_string(test.param.rank);
                         });

/// By kill(-1) it would be everybody's. Signal 0 asks, and harms nobody.
TEST(SignalRank, ToOneThatIsNotThereIsNotSent) {
    const ScratchFolder scratch;
    EXPECT_FALSE(signal_rank(scratch / "run", 0, 0));
    EXPECT_FALSE(signal_rank(scratch / "run", 2, 0));
}

TEST(Watch, ARankThatOnlyPausesEndsNothing) {
    const ScratchFolder scratch;
    const auto flags = with(long_run(2, scratch / "run"), {"--heartbeat_timeout", "6", "--max_steps", "120"});
    BackgroundJob job(2, flags, scratch / "log");
    ASSERT_TRUE(reaches(job, scratch / "run", 20)) << bytes_of(scratch / "log");
    ASSERT_TRUE(signal_rank(scratch / "run", 1, SIGSTOP)) << bytes_of(scratch / "log");
    std::this_thread::sleep_for(std::chrono::seconds(3));
    ASSERT_TRUE(signal_rank(scratch / "run", 1, SIGCONT)) << bytes_of(scratch / "log");
    EXPECT_EQ(job.wait(120), 0) << bytes_of(scratch / "log");
}

}  // namespace
}  // namespace strata::testing_support
