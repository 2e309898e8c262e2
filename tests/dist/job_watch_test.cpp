// A rank that is killed, stopped or stuck, wherever it is, ends the whole job in bounded time, with one message that
// names it, its host and what it was doing; no process stays behind.
#include "dist/job_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/scratch_folder.h"

namespace strata::dist {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing_support::count;
using testing_support::Outcome;
using testing_support::run_ranks;
using testing_support::ScratchFolder;

struct Misfortune {
    const char* how;
    const char* where;
    const char* doing;
};

std::ostream& operator<<(std::ostream& out, const Misfortune& misfortune) {
    return out << misfortune.how << "_in_" << misfortune.where;
}

Outcome run_watched(int ranks, const std::string& how, const std::string& where, const ScratchFolder& scratch) {
    const std::string program = STRATA_FAILURE_TARGET " " + how + " " + where + " " + scratch.path().string();
    return run_ranks(STRATA_TEST_MPIRUN, ranks, program, "env -u OMPI_MCA_io");
}

void expect_no_process_left(const ScratchFolder& scratch) {
    for (const auto& entry : std::filesystem::directory_iterator(scratch.path())) {
        pid_t process = 0;
        std::ifstream(entry.path()) >> process;
        ASSERT_GT(process, 0) << entry.path();
        for (int tries = 0; ::kill(process, 0) == 0 && tries < 50; ++tries)
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        EXPECT_NE(::kill(process, 0), 0) << entry.path() << " still runs";
        if (::kill(process, 0) == 0) ::kill(process, SIGKILL);
    }
}

class LostRank : public ::testing::TestWithParam<Misfortune> {};

TEST_P(LostRank, EndsTheJobWithOneMessage) {
    const auto [how, where, doing] = GetParam();
    const ScratchFolder scratch;
    const Outcome outcome = run_watched(3, how, where, scratch);
    EXPECT_GT(outcome.exit_code, 0) << outcome.output;
    EXPECT_NE(outcome.exit_code, 124) << outcome.output;
    // The limits are 2 s of silence, 3 s of waiting, 3 s for a first word, 2 s of grace; and the start.
    EXPECT_LT(outcome.seconds, 20);
    EXPECT_EQ(count(outcome.output, "message: "), 1) << outcome.output;
    EXPECT_THAT(
        outcome.output,
        AllOf(HasSubstr(how == std::string("error") ? "message: only here" : "message: rank 1 on "), HasSubstr(doing)));
    expect_no_process_left(scratch);
}

constexpr const char* in_backward = "update 2, backward. rank 2 on ";

INSTANTIATE_TEST_SUITE_P(JobWatch, LostRank,
                         ::testing::Values(Misfortune{"killed", "backward", in_backward},
                                           Misfortune{"killed", "reduce", in_backward},
                                           Misfortune{"killed", "norm", "update 2, norm. rank 2 on "},
                                           Misfortune{"killed", "gather", "update 2, gather. rank 2 on "},
                                           Misfortune{"stopped", "backward", in_backward},
                                           Misfortune{"stopped", "reduce", in_backward},
                                           Misfortune{"stopped", "norm", "update 2, norm. rank 2 on "},
                                           Misfortune{"stopped", "gather", "update 2, gather. rank 2 on "},
                                           Misfortune{"stuck", "backward", "lives but has not come to all-reduce"},
                                           Misfortune{"stuck", "norm", "lives but has not come to all-reduce"},
                                           Misfortune{"error", "backward", "only here"}),
                         [](const auto& test) { return ::testing::PrintToString(test.param); });

/// Alone at work for twice the time after which a silent rank is taken for lost.
TEST(JobWatch, ARankThatIsBusyForLongEndsNothing) {
    const ScratchFolder scratch;
    const Outcome outcome = run_watched(3, "paused", "norm", scratch);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(count(outcome.output, "message: "), 0) << outcome.output;
}

TEST(JobWatch, RanksThatNeverComeToTalkEndTheJob) {
    const ScratchFolder scratch;
    const Outcome outcome = run_watched(3, "stopped", "meeting", scratch);
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_LT(outcome.seconds, 20);
    EXPECT_EQ(count(outcome.output, "message: "), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("did not come to talk within 2 s"));
}

}  // namespace
}  // namespace strata::dist
