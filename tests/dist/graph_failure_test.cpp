// A rank that cannot capture its step ends the whole job, with one message that names the call.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/command.h"

namespace strata::dist {
namespace {

using ::testing::HasSubstr;
using testing_support::count;
using testing_support::Outcome;

Outcome run_job(int ranks, const std::string& how) {
    return testing_support::run_ranks(STRATA_TEST_MPIRUN, ranks, STRATA_GRAPH_FAILURE_TARGET " " + how);
}

TEST(GraphFailure, OnOneRankEndsTheJob) {
    const Outcome outcome = run_job(3, "fails");
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_EQ(count(outcome.output, "message: "), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("cannot be captured in a CUDA graph: "));
    EXPECT_THAT(outcome.output, HasSubstr("cudaStreamSynchronize"));
    EXPECT_LT(outcome.seconds, 30);
}

TEST(GraphFailure, WithoutOneTheJobEndsWell) {
    const Outcome outcome = run_job(2, "");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("replayed 2"));
}

}  // namespace
}  // namespace strata::dist
