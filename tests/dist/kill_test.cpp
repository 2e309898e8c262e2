// A rank that is killed at any moment of saving or rotating: what was saved stays whole, and the next job goes on from
// it.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "dist/checkpoint.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int ranks = 2;

std::int64_t number_in(const fs::path& path) {
    std::int64_t number = -1;
    std::ifstream(path) >> number;
    return number;
}

template <typename Condition>
bool wait_for(std::chrono::seconds limit, Condition&& condition) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
        if (condition()) return true;
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

pid_t start_job(const fs::path& output_dir) {
    const std::string command = std::string("exec ") + STRATA_TEST_MPIRUN + " -np " + std::to_string(ranks) + " " +
                                STRATA_KILL_TARGET + " " + output_dir.string() + " > /dev/null 2>&1";
    std::string shell = "/bin/sh";
    std::string flag = "-c";
    std::string text = command;
    char* const arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
    pid_t job = -1;
    return ::posix_spawn(&job, shell.c_str(), nullptr, nullptr, arguments, environ) == 0 ? job : -1;
}

TEST(Kill, AtAnyMomentLosesNothingThatWasSaved) {
    std::string name = (fs::temp_directory_path() / "strata-kill-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    const fs::path output_dir = name;
    std::mt19937 random(7);
    std::chrono::duration<double> one_save{};
    for (int round = 0; round < 8; ++round) {
        for (int rank = 0; rank < ranks; ++rank) fs::remove(output_dir / ("pid-" + std::to_string(rank)));
        const pid_t job = start_job(output_dir);
        ASSERT_GT(job, 0);
        const bool running = wait_for(60s, [&] {
            return fs::exists(output_dir / "pid-0") && fs::exists(output_dir / ("pid-" + std::to_string(ranks - 1)));
        });
        const auto started = std::chrono::steady_clock::now();
        if (round == 0) {
            // Learns how long a save takes here, so that later kills fall anywhere within one or two of them.
            EXPECT_TRUE(wait_for(60s, [&] { return number_in(output_dir / "saved") > 0; })) << "nothing is ever saved";
            one_save = std::chrono::steady_clock::now() - started;
        } else {
            std::this_thread::sleep_for(2 * one_save * static_cast<double>(random() % 1000) / 1000.0);
        }
        const fs::path victim = output_dir / ("pid-" + std::to_string(random() % ranks));
        const auto process = static_cast<pid_t>(number_in(victim));
        if (running && process > 0) ::kill(process, SIGKILL);
        const bool ended = wait_for(60s, [&] { return ::waitpid(job, nullptr, WNOHANG) == job; });
        if (!ended) ::kill(job, SIGKILL);
        ASSERT_TRUE(running) << "round " << round << ": the job could not go on from what it found";
        ASSERT_TRUE(ended) << "round " << round << ": the job did not end when a rank was killed";

        const auto entries = list_checkpoints(output_dir);
        for (const CheckpointEntry& entry : entries) {
            EXPECT_EQ(verify_checkpoint(entry.path), std::vector<std::string>{}) << "round " << round;
        }
        const std::int64_t saved = number_in(output_dir / "saved");
        if (saved > 0) {
            ASSERT_FALSE(entries.empty());
            EXPECT_GE(entries.back().step, saved) << "round " << round;
        }
    }
    EXPECT_GT(number_in(output_dir / "saved"), 1) << "no job went on from where another was killed";
    fs::remove_all(output_dir);
}

}  // namespace
}  // namespace strata::dist
