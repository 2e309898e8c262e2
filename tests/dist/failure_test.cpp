// One rank's failure ends the whole job, soon, with the right exit code and one message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/command.h"

namespace strata::dist {
namespace {

using ::testing::HasSubstr;

using testing_support::count;
using testing_support::Outcome;
using testing_support::run_command;
using testing_support::run_ranks;

Outcome run_job(int ranks, const std::string& how, const std::string& environment = "env -u OMPI_MCA_io") {
    return run_ranks(STRATA_TEST_MPIRUN, ranks, STRATA_FAILURE_TARGET " " + how, environment);
}

TEST(Failure, WithoutOneTheJobEndsWell) {
    const Outcome outcome = run_job(3, "fine");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
}

TEST(Failure, AnAgreedErrorIsPrintedOnceAndGivesItsExitCode) {
    const Outcome outcome = run_job(3, "agreed");
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(count(outcome.output, "message: "), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("rank 2 on "));
    EXPECT_THAT(outcome.output, HasSubstr("the file is wrong"));
}

class Lonely : public ::testing::TestWithParam<const char*> {};

TEST_P(Lonely, AnErrorOnOneRankEndsTheOthersThatWaitForIt) {
    const Outcome outcome = run_job(3, GetParam());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(count(outcome.output, "message: only here"), 1) << outcome.output;
    EXPECT_LT(outcome.seconds, 30);
}

INSTANTIATE_TEST_SUITE_P(Ways, Lonely, ::testing::Values("alone", "under_way"));

TEST(Failure, AnExceptionThatPassesMpiEnvironmentAborts) {
    const Outcome outcome = run_job(3, "unwinding");
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_LT(outcome.seconds, 30);
}

TEST(Launch, MpirunsEnvironmentAgreesWithMpi) {
    const Outcome outcome = run_job(2, "launch");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(count(outcome.output, "Open MPI 2 1 2 io=^ompio\n"), 2) << outcome.output;
}

TEST(Launch, TheUsersChoiceOfIoModuleStands) {
    const Outcome outcome = run_job(1, "launch", "OMPI_MCA_io=romio321");
    EXPECT_THAT(outcome.output, HasSubstr("io=romio321\n"));
}

TEST(Launch, OneProcessNeedsNoMpirun) {
    const Outcome outcome = run_command(std::string("env -u OMPI_MCA_io ") + STRATA_FAILURE_TARGET + " launch");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("no launcher 1 1 1 io=^ompio\n"));
}

}  // namespace
}  // namespace strata::dist
