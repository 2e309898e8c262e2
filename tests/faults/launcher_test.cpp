// launch/mpirun: what it makes of hosts and cores, starting again after a failure, saving when asked to stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"
#include "tests/faults/long_run.h"
#include "tests/support/command.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string launcher = std::string(STRATA_LAUNCH) + "/mpirun";

/// Ranks of tests share cores with other tests.
std::vector<std::string> launched(int ranks, const std::vector<std::string>& options,
                                  const std::vector<std::string>& flags) {
    std::vector<std::string> words = {launcher, "-np", std::to_string(ranks), "--oversubscribe", "--bind-to", "none"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", STRATA_PROGRAM});
    return with(words, flags);
}

Outcome dry_run(const std::string& options, const std::string& environment = "") {
    return run_command("env -u OMP_NUM_THREADS -u SLURM_JOB_ID " + environment + " " + launcher + " --dry_run " +
                       options + " -- strata train");
}

TEST(Launcher, RanksComeFromTheHostfile) {
    const ScratchFolder scratch;
    const std::string hosts =
        scratch.write("hosts", "# two machines\nnode1 slots=3\n\nnode2   slots = 2\nnode2 slots=1\n");
    EXPECT_THAT(dry_run("--hostfile " + hosts).output,
                AllOf(HasSubstr("mpirun -np 6 "), HasSubstr("--hostfile " + hosts)));
    EXPECT_THAT(dry_run("-np 4 --hostfile=" + hosts).output, HasSubstr("mpirun -np 4 "));
    EXPECT_THAT(dry_run("", "OMPI_MCA_orte_default_hostfile=" + hosts).output, HasSubstr("mpirun -np 6 "));
}

TEST(Launcher, RanksAreBoundWhereTheMachineIsTheirsAndHasCoresForAllOfTheirThreads) {
    const char* const whole = "test $(nproc) = $(getconf _NPROCESSORS_ONLN) && ! grep -qvs ^max /sys/fs/cgroup/cpu.max";
    if (run_command(whole).exit_code == 0) {
        EXPECT_THAT(dry_run("-np 1 --threads 1").output, AllOf(HasSubstr("slot:PE=1"), HasSubstr("--bind-to core")));
    }
    EXPECT_THAT(dry_run("-np 1 --threads 1", "SLURM_JOB_ID=7").output, HasSubstr("--bind-to none"));
    EXPECT_THAT(dry_run("", "SLURM_JOB_ID=7 SLURM_NTASKS=6 'SLURM_TASKS_PER_NODE=2(x3)'").output,
                HasSubstr("mpirun -np 6 "));
    EXPECT_THAT(dry_run("-np 2 --threads 5000").output, AllOf(HasSubstr("--bind-to none"), Not(HasSubstr("slot:PE"))));
    EXPECT_THAT(dry_run("-np 1 --bind-to socket").output, AllOf(HasSubstr("--bind-to socket"), Not(HasSubstr("PE"))));
    EXPECT_THAT(
        run_command(launcher + " -np 1 --threads 3 --bind-to none -- sh -c 'echo threads $OMP_NUM_THREADS'").output,
        HasSubstr("threads 3"));
}

TEST(Launcher, VariablesReachTheRanks) {
    EXPECT_THAT(dry_run("-np 1 -x COLOUR=blue -x SHAPE --mca btl tcp,self").output,
                AllOf(HasSubstr("-x OMP_NUM_THREADS"), HasSubstr("-x COLOUR=blue"), HasSubstr("-x SHAPE"),
                      HasSubstr("--mca btl")));
    EXPECT_THAT(run_command(launcher + " -np 1 --bind-to none -x COLOUR=blue -- sh -c 'echo is $COLOUR'").output,
                HasSubstr("is blue"));
}

TEST(Launcher, WrongArgumentsAreRefused) {
    const std::pair<const char*, const char*> cases[] = {
        {"-np 2", "no command"},
        {"-np two -- strata train", "-np is 'two'"},
        {"-np 0 -- strata train", "-np is '0'"},
        {"-np -- strata train", "-np wants a value"},
        {"--hostfile /no/such/file -- strata train", "/no/such/file: no such hostfile"},
        {"--max_restarts 2 -np 1 -- strata train --resume_from_checkpoint runs/a/checkpoint-7", "not from runs/a"},
        {"--max_restarts 2 -np 1 -- strata train --resume-from-checkpoint=runs/a/checkpoint-7", "not from runs/a"},
    };
    for (const auto& [arguments, message] : cases) {
        const Outcome outcome = run_command("env -u SLURM_JOB_ID " + launcher + " " + arguments);
        EXPECT_EQ(outcome.exit_code, 2) << arguments;
        EXPECT_THAT(outcome.output, HasSubstr(message));
    }
    EXPECT_THAT(dry_run("").output, HasSubstr("how many ranks?"));
    const ScratchFolder scratch;
    const std::string hosts = scratch.write("hosts", "node1 slots=2\nnode2\n");
    EXPECT_THAT(dry_run("--hostfile " + hosts).output, HasSubstr(hosts + ":2: expected HOST slots=RANKS"));
    EXPECT_THAT(dry_run("--hostfile " + scratch.write("none", "# none\n")).output, HasSubstr("names no host"));
}

TEST(Launcher, AFailureIsTriedAgainSoOftenAndGivesOne) {
    const Outcome outcome =
        run_command(launcher + " -np 1 --bind-to none --max_restarts 1 -- sh -c 'echo began; exit 3'");
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_EQ(count(outcome.output, "began"), 2) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("start 1 of at most 1"));
}

TEST(Launcher, WrongInputAndAStopAreFinal) {
    for (const int code : {0, 2, 75}) {
        const Outcome outcome =
            run_command(launcher + " -np 1 --bind-to none --max_restarts 3 -- sh -c 'echo began; exit " +
                        std::to_string(code) + "'");
        EXPECT_EQ(outcome.exit_code, code) << outcome.output;
        EXPECT_EQ(count(outcome.output, "began"), 1) << outcome.output;
    }
}

TEST(Launcher, ARunWhoseRankIsKilledBecomesTheRunThatWasNot) {
    const ScratchFolder scratch;
    const auto flags = [&](const char* name) { return with(long_run(2, scratch / name), {"--max_steps", "150"}); };
    expect_success(run_strata(2, flags("whole")));
    BackgroundJob job(launched(2, {"--max_restarts", "2"}, flags("killed")), scratch / "log");
    ASSERT_TRUE(reaches(job, scratch / "killed", 30)) << bytes_of(scratch / "log");
    ASSERT_TRUE(signal_rank(scratch / "killed", 1, SIGKILL)) << bytes_of(scratch / "log");
    ASSERT_EQ(job.wait(120), 0) << bytes_of(scratch / "log");
    EXPECT_EQ(count(bytes_of(scratch / "log"), "start 1 of at most 2"), 1) << bytes_of(scratch / "log");
    EXPECT_EQ(history(scratch / "killed/metrics.jsonl"), history(scratch / "whole/metrics.jsonl"));
    EXPECT_EQ(bytes_of(scratch / "killed/model.safetensors"), bytes_of(scratch / "whole/model.safetensors"));
}

class Asked : public testing::TestWithParam<int> {};

TEST_P(Asked, TheRanksSaveAndTheCodeIs75) {
    const ScratchFolder scratch;
    const auto flags = with(long_run(2, scratch / "run"), {"--save_strategy", "no"});
    BackgroundJob job(launched(2, {"--max_restarts", "2"}, flags), scratch / "log");
    while (!fs::exists(scratch / "run/metrics.jsonl") && job.wait(0.05) < 0) {
    }
    job.send(GetParam());
    ASSERT_EQ(job.wait(60), 75) << bytes_of(scratch / "log");
    EXPECT_TRUE(all_gone(scratch / "run", 2, 5));
    EXPECT_EQ(newest_checkpoint(scratch / "run"), newest_update(scratch / "run"));
    EXPECT_GT(newest_checkpoint(scratch / "run"), 0);
}

INSTANTIATE_TEST_SUITE_P(Launcher, Asked, testing::Values(SIGTERM, SIGINT, SIGUSR1));

TEST(Launcher, ASecondSignalEndsTheRanksAtOnce) {
    const ScratchFolder scratch;
    BackgroundJob job({launcher, "-np", "2", "--oversubscribe", "--bind-to", "none", "--", "sh", "-c",
                       "trap 'echo asked' USR1; echo began; while :; do sleep 0.1; done"},
                      scratch / "log");
    while (count(bytes_of(scratch / "log"), "began") < 2 && job.wait(0.05) < 0) {
    }
    job.send(SIGTERM);
    for (int tries = 0; tries < 100 && count(bytes_of(scratch / "log"), "asked\n") < 2; ++tries) job.wait(0.05);
    EXPECT_EQ(count(bytes_of(scratch / "log"), "asked\n"), 2) << bytes_of(scratch / "log");
    job.send(SIGTERM);
    EXPECT_EQ(job.wait(15), 1) << bytes_of(scratch / "log");
}

}  // namespace
}  // namespace strata::testing_support
