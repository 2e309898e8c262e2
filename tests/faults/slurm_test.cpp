// launch/slurm.sbatch under a real Slurm on two virtual hosts (slurm_cluster).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>
#include <thread>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"
#include "tests/faults/long_run.h"
#include "tests/support/command.h"

namespace strata::testing_support {
namespace {

using ::testing::HasSubstr;

const std::string script = std::string(STRATA_FAULTS) + "/slurm_cluster ";

std::string first_line(const std::string& text) {
    std::string line;
    std::istringstream lines(text);
    std::getline(lines, line);
    return line;
}

class Slurm : public testing::Test {
  protected:
    void SetUp() override {
        const Outcome check = run_command(script + "check");
        if (check.exit_code != 0) GTEST_SKIP() << "no Slurm here: " << check.output;
        const Outcome up = run_command(script + "up " + folder() + " 2 2");
        up_ = true;
        ASSERT_EQ(up.exit_code, 0) << up.output;
    }
    void TearDown() override {
        if (up_) run_command(script + "down " + folder());
    }

    std::string folder() const { return (scratch_ / "slurm").string(); }
    Outcome slurm(const std::string& command) const { return run_command(script + "run " + folder() + " " + command); }

    /// Submits the batch file on two nodes of one rank; the job's number.
    std::string submit(const std::string& options, const std::vector<std::string>& flags) {
        std::string command = "env STRATA_HOME=" + std::filesystem::path(STRATA_LAUNCH).parent_path().string() +
                              " PATH=" + std::filesystem::path(STRATA_PROGRAM).parent_path().string() + ":" +
                              std::getenv("PATH") +
                              " OMP_NUM_THREADS=1 sbatch --parsable --nodes=2 --ntasks-per-node=1 " +
                              "--cpus-per-task=1 --output=" + (scratch_ / "log").string() + " " + options + " " +
                              STRATA_LAUNCH + "/slurm.sbatch";
        for (std::size_t i = 1; i < flags.size(); ++i) command += " " + flags[i];
        const Outcome outcome = slurm(command);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        return first_line(outcome.output);
    }

    std::string state(const std::string& job) const {
        return first_line(slurm("squeue -h -t all -o %T -j " + job).output);
    }

    template <typename Condition>
    bool wait_for(int seconds, Condition&& condition) const {
        for (int tries = 0; tries < 5 * seconds; ++tries) {
            if (condition()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
        }
        return false;
    }

    std::string log() const { return bytes_of(scratch_ / "log"); }

    ScratchFolder scratch_;
    bool up_ = false;
};

TEST_F(Slurm, ARunOfTwoNodesEndsWell) {
    const std::string job = submit("", parity_run(2, scratch_ / "run"));
    ASSERT_TRUE(wait_for(100, [&] { return state(job) == "COMPLETED" || state(job) == "FAILED"; })) << log();
    EXPECT_EQ(state(job), "COMPLETED") << log();
    EXPECT_EQ(read_lines(scratch_ / "run/metrics.jsonl").size(), 20u) << log();
    EXPECT_THAT(log(), HasSubstr("on strata-h[1-2]"));
    EXPECT_THAT(log(), HasSubstr("job: 2 rank(s)"));
}

/// Slurm's warning comes up to a minute early, so with a time of one minute soon after the start.
TEST_F(Slurm, BeforeItsTimeIsUpItSavesAndGoesOnInItsNextStart) {
    const auto flags = with(long_run(2, scratch_ / "run"), {"--save_strategy", "no"});
    const std::string job = submit("--time=1 --signal=B:USR1@30", flags);
    ASSERT_TRUE(wait_for(100, [&] { return log().find("queued again") != std::string::npos; })) << log();
    const std::int64_t saved = newest_checkpoint(scratch_ / "run");
    EXPECT_GT(saved, 0) << log();
    ASSERT_TRUE(wait_for(30, [&] { return state(job) == "PENDING"; })) << state(job) << log();
    // Slurm holds a job that was queued again for two minutes.
    ASSERT_TRUE(wait_for(30, [&] { return slurm("scontrol update StartTime=now JobId=" + job).exit_code == 0; }));
    ASSERT_TRUE(wait_for(60, [&] { return log().find("going on from") != std::string::npos; })) << log();
    EXPECT_THAT(log(), HasSubstr("start 2"));
    EXPECT_THAT(log(), HasSubstr("at update " + std::to_string(saved)));
    slurm("scancel " + job);
    EXPECT_TRUE(all_gone(scratch_ / "run", 2, 30));
}

}  // namespace
}  // namespace strata::testing_support
