// Kills runs at random and lets them go on: chaos ROUNDS SEED
//
// Each round starts or resumes a run on 1 to 4 ranks, saving beside training or not, and sends SIGKILL to one rank or
// to all of them at a random moment. Then every checkpoint must be whole, none may be older than the newest that was
// there before, and the next round must go on from the newest. A run that reaches its end must be what an undisturbed
// one is, bit for bit, since runs are deterministic: every update logged once, its loss, and weights and moments at the
// end. Prints a line a round and a summary; exit code 1 at the first thing that is not so.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <regex>
#include <stdexcept>
#include <thread>

#include "dist/checkpoint.h"
#include "dist/checksums.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;

constexpr int updates = 40;

[[noreturn]] void fail(const std::string& message) {
    throw std::runtime_error(message);
}

std::string text_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

class Chaos {
  public:
    explicit Chaos(unsigned seed) : random_(seed) {}

    void run(int rounds) {
        JobResult job = run_strata(1, flags(scratch_ / "undisturbed", 40, false));
        if (job.exit_code != 0) fail("the undisturbed run failed:\n" + job.output);
        for (int round = 1; round <= rounds; ++round) disturb(round);
        finish_undisturbed();
        fmt::print(
            "{} rounds: {} kills ({} of all ranks, {} in the middle of a save), {} runs that reached their end with "
            "the "
            "bits of the undisturbed one\n",
            rounds, kills_, kills_of_all_, kills_in_saves_, runs_ended_);
    }

  private:
    /// Whatever the number of ranks, twelve samples an update in six micro-batches.
    std::vector<std::string> flags(const fs::path& folder, int save_steps, bool async) const {
        return with(parity_run(1, folder), {"--deterministic",
                                            "true",
                                            "--micro_batches",
                                            "6",
                                            "--per_device_train_batch_size",
                                            "2",
                                            "--max_steps",
                                            std::to_string(updates),
                                            "--shuffle",
                                            "true",
                                            "--hidden_dropout_prob",
                                            "0.1",
                                            "--attention_probs_dropout_prob",
                                            "0.1",
                                            "--report_to",
                                            "none",
                                            "--resume_from_checkpoint",
                                            "auto",
                                            "--save_steps",
                                            std::to_string(save_steps),
                                            "--async_save",
                                            async ? "true" : "false"});
    }

    int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }

    std::vector<std::int64_t> steps() const {
        std::vector<std::int64_t> found;
        for (const auto& entry : dist::list_checkpoints(run_)) found.push_back(entry.step);
        return found;
    }

    std::int64_t logged() const {
        const std::string text = text_of(run_ / "metrics.jsonl");
        return std::count(text.begin(), text.end(), '\n');
    }

    std::string log() const { return text_of(scratch_ / "log"); }

    void disturb(int round) {
        const int ranks = 1 + below(4);
        const int save_steps = 1 + below(4);
        const bool async = below(4) != 0;
        const std::vector<std::int64_t> before = steps();
        fs::remove(scratch_ / "log");
        BackgroundJob job(ranks, with(flags(run_, save_steps, async), {"--save_total_limit", "4"}), scratch_ / "log");
        wait_for_moment(job);
        const auto victims = choose_victims(job);
        for (const int victim : victims) ::kill(victim, SIGKILL);
        const int code = job.wait(120);
        if (code < 0) fail(fmt::format("round {}: the job did not end when ranks were killed\n{}", round, log()));
        std::string end = "reached its end first";
        if (code != 0) {
            ++kills_;
            kills_of_all_ += victims.size() > 1 || ranks == 1 ? 1 : 0;
            const bool in_save = !unfinished().empty();
            kills_in_saves_ += in_save ? 1 : 0;
            end = fmt::format("killed {}{}", victims.size() == 1 && ranks > 1 ? "one rank" : "all",
                              in_save ? " in the middle of a save" : "");
        }
        check_start(round, before);
        check_checkpoints(round, before);
        const auto after = steps();
        fmt::print("round {}: {} rank(s), {}, a save each {}: {} after update {}; newest checkpoint {}\n", round, ranks,
                   async ? "saving beside training" : "saving at once", save_steps, end, logged(),
                   after.empty() ? 0 : after.back());
        std::fflush(stdout);
        if (code == 0) compare_and_begin_anew();
    }

    /// Any time from the first instruction on, or, mostly, some updates and a part of one later.
    void wait_for_moment(BackgroundJob& job) {
        if (below(8) == 0) {
            job.wait(0.001 * below(2500));
            return;
        }
        const auto resumed = [&] { return log().find("\nstep ") != std::string::npos; };
        while (!resumed() && job.wait(0.005) < 0) {
        }
        const std::int64_t wanted = logged() + below(12);
        while (logged() < wanted && job.wait(0.002) < 0) {
        }
        std::this_thread::sleep_for(std::chrono::microseconds(below(40'000)));
    }

    /// The ranks are mpirun's children: waits until there are some. None once it has ended.
    std::vector<int> choose_victims(BackgroundJob& job) {
        const std::string process = std::to_string(job.process());
        std::vector<int> victims;
        do {
            std::ifstream children("/proc/" + process + "/task/" + process + "/children");
            victims.assign(std::istream_iterator<int>(children), {});
        } while (victims.empty() && job.wait(0.001) < 0);
        if (victims.size() > 1 && below(3) != 0)
            victims = {victims[static_cast<std::size_t>(below(static_cast<int>(victims.size())))]};
        return victims;
    }

    std::vector<fs::path> unfinished() const {
        std::vector<fs::path> found;
        std::error_code none;
        for (const auto& entry : fs::directory_iterator(run_, none)) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with("checkpoint-") && name.ends_with(".tmp")) found.push_back(entry.path());
        }
        return found;
    }

    /// The job went on from the newest checkpoint that it found, if it came so far.
    void check_start(int round, const std::vector<std::int64_t>& before) const {
        const std::string text = log();
        std::smatch found;
        const bool went_on = std::regex_search(text, found, std::regex("going on from .* at update ([0-9]+)"));
        if (went_on && (before.empty() || std::stoll(found[1]) != before.back()))
            fail(fmt::format("round {}: went on from update {}\n{}", round, found[1].str(), text));
        if (!went_on && !before.empty() && text.find("\nstep ") != std::string::npos)
            fail(fmt::format("round {}: began anew\n{}", round, text));
        if (text.find("passed over") != std::string::npos || text.find("NOT SAVED") != std::string::npos)
            fail(fmt::format("round {}: a checkpoint was lost\n{}", round, text));
    }

    void check_checkpoints(int round, const std::vector<std::int64_t>& before) const {
        const auto after = dist::list_checkpoints(run_);
        for (const auto& entry : after) {
            const auto problems = dist::verify_checkpoint(entry.path);
            if (!problems.empty()) fail(fmt::format("round {}: {}\n{}", round, problems.front(), log()));
        }
        if (!before.empty() && (after.empty() || after.back().step < before.back()))
            fail(fmt::format("round {}: checkpoint-{} is gone\n{}", round, before.back(), log()));
    }

    void finish_undisturbed() {
        const auto before = steps();
        const JobResult job = run_strata(2, flags(run_, 10, true));
        if (job.exit_code != 0) fail("the last run cannot go on:\n" + job.output);
        if (!unfinished().empty()) fail("something unfinished was left");
        check_checkpoints(0, before);
        compare_and_begin_anew();
    }

    void compare_and_begin_anew() {
        compare_losses();
        compare_state();
        ++runs_ended_;
        run_ = scratch_ / fmt::format("run-{}", runs_ended_);
    }

    void compare_losses() {
        const auto undisturbed = read_lines(scratch_ / "undisturbed/metrics.jsonl");
        const auto disturbed = read_lines(run_ / "metrics.jsonl");
        if (disturbed.size() != updates)
            fail(fmt::format("{} has {} logged updates of {}", run_.string(), disturbed.size(), updates));
        for (std::size_t i = 0; i < disturbed.size(); ++i) {
            if (disturbed[i]["step"] != undisturbed[i]["step"]) fail("updates are logged twice, or not at all");
            if (disturbed[i]["loss"] != undisturbed[i]["loss"])
                fail(fmt::format("{}: the loss of update {} is {}, not {}", run_.string(), i + 1,
                                 disturbed[i]["loss"].dump(), undisturbed[i]["loss"].dump()));
        }
    }

    void compare_state() {
        const auto last = fmt::format("checkpoint-{}", updates);
        const dist::StateFile undisturbed(scratch_ / "undisturbed" / last / dist::state_name);
        const dist::StateFile disturbed(run_ / last / dist::state_name);
        for (std::size_t group = 0; group < undisturbed.groups().size(); ++group) {
            const auto& stored = undisturbed.groups()[group];
            if (disturbed.groups().at(group).group.step != stored.group.step)
                fail("a group's count of updates differs");
            for (const auto kind : dist::state_kinds) {
                if (!stored.present[static_cast<std::size_t>(kind)]) continue;
                if (values_of(disturbed, group, kind) != values_of(undisturbed, group, kind))
                    fail(fmt::format("{}: {} of group {} differs", run_.string(), dist::name_of(kind),
                                     stored.group.name));
            }
        }
    }

    ScratchFolder scratch_;
    fs::path run_ = scratch_ / "run-0";
    std::mt19937 random_;
    int kills_ = 0;
    int kills_of_all_ = 0;
    int kills_in_saves_ = 0;
    int runs_ended_ = 0;
};

}  // namespace
}  // namespace strata::testing_support

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "chaos ROUNDS SEED\n");
        return 2;
    }
    try {
        strata::testing_support::Chaos(static_cast<unsigned>(std::atoi(argv[2]))).run(std::atoi(argv[1]));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
