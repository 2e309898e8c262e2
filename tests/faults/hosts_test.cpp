// Jobs over several hosts, which are network namespaces joined by a bridge, each with its own name and sshd
// (virtual_hosts): mpirun starts ranks on them by ssh, and they reach one another by TCP alone.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"
#include "tests/faults/long_run.h"
#include "tests/support/command.h"

namespace strata::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

const std::string script = std::string(STRATA_FAULTS) + "/virtual_hosts ";

class Hosts : public testing::Test {
  protected:
    void SetUp() override {
        const Outcome check = run_command(script + "check");
        if (check.exit_code != 0) GTEST_SKIP() << "no virtual hosts here: " << check.output;
    }
    void TearDown() override {
        if (count_ > 0) run_command(script + "down " + folder());
    }

    std::string folder() const { return (scratch_ / "hosts").string(); }

    void make(int hosts) {
        count_ = hosts;
        const Outcome up = run_command(script + "up " + folder() + " " + std::to_string(hosts));
        ASSERT_EQ(up.exit_code, 0) << up.output;
    }

    /// The command that runs strata on one rank (or more) of each host, started from the first.
    std::vector<std::string> over_hosts(const std::vector<std::string>& flags, const std::string& more_hosts = "") {
        std::string hosts;
        for (int host = 1; host <= count_; ++host) {
            const int slots = host == count_ ? last_slots_.value_or(slots_) : slots_;
            hosts += fmt::format("10.231.77.{} slots={}\n", host, slots);
        }
        const std::string file = scratch_.write("hostfile", hosts + more_hosts);
        return with({std::string(STRATA_FAULTS) + "/virtual_hosts", "run", folder(), "1",
                     std::string(STRATA_LAUNCH) + "/mpirun", "--hostfile", file, "--bind-to", "none", "--mca",
                     "mpi_yield_when_idle", "1", "--", STRATA_PROGRAM},
                    flags);
    }

    std::int64_t bytes_sent(int host) {
        return std::stoll(run_command(script + "sent " + folder() + " " + std::to_string(host)).output);
    }

    void expect_no_process_left(double seconds) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
        for (int host = 1; host <= count_; ++host) {
            std::string left;
            do {
                left = run_command(script + "processes " + folder() + " " + std::to_string(host)).output;
                if (left.empty()) break;
                std::this_thread::sleep_for(std::chrono::milliseconds(200));
            } while (std::chrono::steady_clock::now() < deadline);
            EXPECT_EQ(left, "") << "on host " << host;
        }
    }

    /// One message of the program's, naming the rank and host and a reason.
    void expect_one_message(const std::string& who, const std::string& reason) {
        const std::string output = bytes_of(scratch_ / "log");
        EXPECT_EQ(count(output, "strata: "), 1) << output;
        EXPECT_THAT(output, AllOf(HasSubstr("strata: " + who), HasSubstr(reason)));
    }

    /// The newest checkpoint is whole: the run goes on from it, on one host.
    void expect_to_go_on(int ranks, const std::vector<std::string>& flags) {
        const auto resumed = run_strata(ranks, goes_on(flags, scratch_ / "run"));
        expect_success(resumed);
        EXPECT_THAT(resumed.output, HasSubstr("going on from"));
    }

    ScratchFolder scratch_;
    int count_ = 0;
    int slots_ = 1;
    std::optional<int> last_slots_;
};

class SeveralHosts : public Hosts, public testing::WithParamInterface<int> {};

TEST_P(SeveralHosts, TrainAsOneDoes) {
    const int hosts = GetParam();
    make(hosts);
    BackgroundJob job(over_hosts(parity_run(hosts, scratch_ / "hosts_run")), scratch_ / "log");
    ASSERT_EQ(job.wait(120), 0) << bytes_of(scratch_ / "log");
    expect_success(run_strata(hosts, parity_run(hosts, scratch_ / "one_host")));
    const auto apart = read_lines(scratch_ / "hosts_run/metrics.jsonl");
    const auto together = read_lines(scratch_ / "one_host/metrics.jsonl");
    ASSERT_EQ(apart.size(), 20u);
    ASSERT_EQ(together.size(), 20u);
    std::int64_t sent = 0;
    for (std::size_t i = 0; i < apart.size(); ++i) {
        const double loss = together[i]["loss"];
        EXPECT_NEAR(apart[i]["loss"].get<double>(), loss, 1e-6 * loss) << "update " << i + 1;
        sent += apart[i]["bytes_sent"].get<std::int64_t>();
    }
    // It did go over the network: the links carry what the formulas say, and what else a job takes.
    for (int host = 1; host <= hosts; ++host) EXPECT_GT(bytes_sent(host), sent) << "host " << host;
    expect_no_process_left(5);
}

INSTANTIATE_TEST_SUITE_P(Hosts, SeveralHosts, testing::Values(2, 4));

/// Every host's ranks share one copy of the optimizer state; between hosts go sums of slices alone.
TEST_F(Hosts, WithACopyOfTheStateEachSendOneAnotherSumsAlone) {
    make(2);
    slots_ = 2;
    std::int64_t carried[2];
    for (const char* shard : {"all", "node"}) {
        const std::int64_t before = bytes_sent(1);
        BackgroundJob job(over_hosts(with(parity_run(4, scratch_ / shard), {"--shard", shard})), scratch_ / "log");
        ASSERT_EQ(job.wait(120), 0) << bytes_of(scratch_ / "log");
        carried[shard[0] == 'n'] = bytes_sent(1) - before;
    }
    const auto all = read_lines(scratch_ / "all/metrics.jsonl");
    const auto node = read_lines(scratch_ / "node/metrics.jsonl");
    ASSERT_EQ(node.size(), 20u);
    for (std::size_t i = 0; i < node.size(); ++i) {
        const double loss = all[i]["loss"];
        EXPECT_NEAR(node[i]["loss"].get<double>(), loss, 1e-5 * loss) << "update " << i + 1;
    }
    const nlohmann::json plan = read_json(scratch_ / "node/plan.json");
    EXPECT_EQ(plan["replicas"], 2);
    const std::int64_t across = plan["stages"][0]["traffic"]["across_bytes"];
    EXPECT_GT(carried[1], 20 * 2 * across) << "two owners a host";
    EXPECT_LT(carried[1], carried[0]) << "unsummed gradients of two ranks and parameters stay inside";
}

TEST_F(Hosts, OfUnequalSizeCannotHaveACopyEach) {
    make(2);
    slots_ = 3;
    last_slots_ = 1;
    BackgroundJob job(over_hosts(with(parity_run(4, scratch_ / "run"), {"--shard", "node"})), scratch_ / "log");
    EXPECT_EQ(job.wait(60), 2) << bytes_of(scratch_ / "log");
    EXPECT_THAT(bytes_of(scratch_ / "log"), HasSubstr("strata-h1 has 3 and strata-h2 has 1"));
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "run"));
}

TEST_F(Hosts, ARankKilledOnAnotherHostEndsTheJob) {
    make(3);
    const auto flags = long_run(3, scratch_ / "run");
    BackgroundJob job(over_hosts(flags), scratch_ / "log");
    ASSERT_TRUE(reaches(job, scratch_ / "run", 10)) << bytes_of(scratch_ / "log");
    ASSERT_TRUE(signal_rank(scratch_ / "run", 1, SIGKILL)) << bytes_of(scratch_ / "log");
    EXPECT_EQ(job.wait(30), 1) << bytes_of(scratch_ / "log");
    expect_no_process_left(15);
    expect_one_message("rank 1 on strata-h2", "died");
    expect_to_go_on(3, flags);
}

TEST_F(Hosts, ARankStoppedOnAnotherHostEndsTheJob) {
    make(2);
    const auto flags = long_run(2, scratch_ / "run");
    BackgroundJob job(over_hosts(flags), scratch_ / "log");
    ASSERT_TRUE(reaches(job, scratch_ / "run", 10)) << bytes_of(scratch_ / "log");
    ASSERT_TRUE(signal_rank(scratch_ / "run", 1, SIGSTOP)) << bytes_of(scratch_ / "log");
    EXPECT_EQ(job.wait(30), 1) << bytes_of(scratch_ / "log");
    expect_no_process_left(15);
    expect_one_message("rank 1 on strata-h2", "has not been heard of for 2 s");
    expect_to_go_on(2, flags);
}

TEST_F(Hosts, ALinkThatDropsEndsTheJobOnBothSides) {
    make(3);
    const auto flags = long_run(3, scratch_ / "run");
    BackgroundJob job(over_hosts(flags), scratch_ / "log");
    ASSERT_TRUE(reaches(job, scratch_ / "run", 10)) << bytes_of(scratch_ / "log");
    ASSERT_EQ(run_command(script + "link " + folder() + " 2 down").exit_code, 0);
    EXPECT_EQ(job.wait(60), 1) << bytes_of(scratch_ / "log");
    expect_no_process_left(60);
    expect_one_message("rank 1 on strata-h2", "has not been heard of for 2 s");
    expect_to_go_on(3, flags);
}

/// Runs on each host what lies in a folder of the host's name.
std::vector<std::string> by_host(std::vector<std::string> words, const std::filesystem::path& folder,
                                 const std::string& command) {
    const auto program = std::find(words.begin(), words.end(), STRATA_PROGRAM);
    const std::string there = "cd " + folder.string() + "/$(hostname) && exec " + command + " \"$@\"";
    std::vector<std::string> wrapped(words.begin(), program);
    wrapped.insert(wrapped.end(), {"sh", "-c", there, "strata"});
    wrapped.insert(wrapped.end(), program + 1, words.end());
    return wrapped;
}

TEST_F(Hosts, DifferentProgramsAreRefused) {
    make(2);
    for (const char* host : {"strata-h1", "strata-h2"}) {
        std::filesystem::create_directory(scratch_ / host);
        std::filesystem::copy_file(STRATA_PROGRAM, scratch_ / host / "strata");
    }
    std::ofstream(scratch_ / "strata-h2/strata", std::ios::app | std::ios::binary) << '\n';  // another build
    BackgroundJob job(by_host(over_hosts(parity_run(2, scratch_ / "run")), scratch_.path(), "./strata"),
                      scratch_ / "log");
    EXPECT_EQ(job.wait(60), 2) << bytes_of(scratch_ / "log");
    expect_one_message("ranks do not agree on the program: rank 1 on strata-h2", "'program file ");
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "run"));
}

TEST_F(Hosts, DifferentFilesUnderOneNameAreRefused) {
    make(2);
    for (const char* host : {"strata-h1", "strata-h2"}) {
        std::filesystem::create_directory(scratch_ / host);
        std::filesystem::copy_file(parity("train.tsv"), scratch_ / host / "train.tsv");
    }
    {
        std::fstream file(scratch_ / "strata-h2/train.tsv", std::ios::in | std::ios::out | std::ios::binary);
        file.put('a');  // as many rows as before
    }
    const auto flags = with(parity_run(2, scratch_ / "run"), {"--train_file", "train.tsv"});
    BackgroundJob job(by_host(over_hosts(flags), scratch_.path(), STRATA_PROGRAM), scratch_ / "log");
    EXPECT_EQ(job.wait(60), 2) << bytes_of(scratch_ / "log");
    expect_one_message("ranks do not agree on the content of the files: rank 1 on strata-h2", "train.tsv ");
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "run"));
}

TEST_F(Hosts, AHostThatCannotBeReachedEndsTheJobBeforeItBegins) {
    make(2);
    const auto began = std::chrono::steady_clock::now();
    BackgroundJob job(over_hosts(parity_run(3, scratch_ / "run"), "10.231.77.99 slots=1\n"), scratch_ / "log");
    EXPECT_EQ(job.wait(60), 1) << bytes_of(scratch_ / "log");
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
    EXPECT_THAT(bytes_of(scratch_ / "log"),
                AllOf(HasSubstr("10.231.77.99"), AnyOf(HasSubstr("No route to host"), HasSubstr("timed out"))));
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "run"));
    expect_no_process_left(30);
}

}  // namespace
}  // namespace strata::testing_support
