// Saves beside training: the same run, seen from outside. A test holds up the disk and watches what goes on meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include "dist/checkpoint.h"
#include "tests/distributed/equal_runs.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> noisy_run(int ranks, const fs::path& output_dir, const char* async) {
    return with(parity_run(ranks, output_dir),
                {"--hidden_dropout_prob", "0.1", "--attention_probs_dropout_prob", "0.1", "--shuffle", "true",
                 "--save_steps", "7", "--logging_steps", "3", "--eval_steps", "5", "--async_save", async});
}

class SavingRanks : public testing::TestWithParam<int> {};

TEST_P(SavingRanks, beside_training_leaves_what_saving_at_once_leaves) {
    const ScratchFolder scratch;
    expect_success(run_strata(GetParam(), noisy_run(GetParam(), scratch / "at_once", "false")));
    const JobResult beside = run_strata(GetParam(), noisy_run(GetParam(), scratch / "beside", "true"));
    expect_success(beside);
    EXPECT_THAT(beside.output, AllOf(HasSubstr("checkpoint-7 saved in "), HasSubstr("training stood still")));
    expect_equal_runs(scratch / "at_once", scratch / "beside");
    for (const char* step : {"checkpoint-7", "checkpoint-14", "checkpoint-20"}) {
        expect_equal_state(scratch / "at_once" / step, scratch / "beside" / step);
        EXPECT_EQ(bytes_of(scratch / "at_once" / step / "model.safetensors"),
                  bytes_of(scratch / "beside" / step / "model.safetensors"));
    }
    // Taken from state.h5 here, from the model itself there.
    EXPECT_EQ(bytes_of(scratch / "beside/checkpoint-20/model.safetensors"),
              bytes_of(scratch / "beside/model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Saving, SavingRanks, testing::Values(1, 2, 3));

/// A run whose checkpoints reach the disk only once the gate is open.
class HeldUp : public testing::Test {
  protected:
    std::vector<std::string> flags(const std::vector<std::string>& more = {}) const {
        return with(parity_run(2, run_), with({"--max_steps", "14", "--save_steps", "5"}, more));
    }
    std::string program(const std::string& settings) const {
        const std::string wrapper = scratch_.write("wrapper.sh", "#!/bin/sh\nLD_PRELOAD=" STRATA_STAND_INS " " +
                                                                     settings + " exec " STRATA_PROGRAM " \"$@\"\n");
        fs::permissions(wrapper, fs::perms::owner_all);
        return wrapper;
    }
    void start(const std::vector<std::string>& flags) {
        job_.emplace(2, flags, scratch_ / "log", program("STAND_IN_GATE=" + (scratch_ / "open").string()));
    }
    void open_gate() const { std::ofstream(scratch_ / "open") << "."; }
    std::int64_t logged() const {
        if (!fs::exists(run_ / "metrics.jsonl")) return 0;
        const std::string text = bytes_of(run_ / "metrics.jsonl");
        return std::count(text.begin(), text.end(), '\n');
    }
    std::string output() const { return bytes_of(scratch_ / "log"); }

    void wait_until(const std::function<bool()>& condition) {
        for (int tries = 0; tries < 3000 && !condition(); ++tries) {
            ASSERT_LT(job_->wait(0.02), 0) << "the run has ended\n" << output();
        }
        ASSERT_TRUE(condition()) << output();
    }
    /// A file may come into a folder while it is emptied.
    void remove_run() const {
        std::error_code failed;
        do fs::remove_all(run_, failed);
        while (failed);
    }
    void expect_whole(const std::vector<std::int64_t>& steps) const {
        std::vector<std::int64_t> found;
        for (const auto& entry : dist::list_checkpoints(run_)) {
            found.push_back(entry.step);
            EXPECT_EQ(dist::verify_checkpoint(entry.path), std::vector<std::string>{});
        }
        EXPECT_EQ(found, steps) << output();
    }
    int finish_and_resume() {
        open_gate();
        return run_strata(2, with(flags(), {"--resume_from_checkpoint", "auto"})).exit_code;
    }

    ScratchFolder scratch_;
    fs::path run_ = scratch_ / "run";
    std::optional<BackgroundJob> job_;
};

TEST_F(HeldUp, training_goes_on_while_a_checkpoint_is_written_and_waits_before_the_next) {
    start(flags());
    wait_until([&] { return logged() == 10; });
    EXPECT_TRUE(fs::exists(run_ / "checkpoint-5.tmp"));
    EXPECT_FALSE(fs::exists(run_ / "checkpoint-5"));
    wait_until([&] { return output().find("checkpoint-5 is still being written") != std::string::npos; });
    EXPECT_LT(job_->wait(0.5), 0);
    EXPECT_EQ(logged(), 10) << "the next save did not wait";
    open_gate();
    EXPECT_EQ(job_->wait(60), 0) << output();
    expect_whole({5, 10, 14});
    bool stood_still = false;
    for (const auto& line : read_lines(run_ / "metrics.jsonl")) {
        EXPECT_TRUE(!line.contains("save_seconds") || line["step"] == 6 || line["step"] == 11) << line;
        if (line["step"] == 11) stood_still = line["save_seconds"].get<double>() > 0.4;
    }
    EXPECT_TRUE(stood_still);
}

TEST_F(HeldUp, a_signal_while_a_checkpoint_is_written_saves_both) {
    start(flags());
    wait_until([&] { return logged() >= 6; });
    job_->send(SIGUSR1);
    EXPECT_LT(job_->wait(1), 0) << "the run did not wait for its saves\n" << output();
    open_gate();
    ASSERT_EQ(job_->wait(60), 75) << output();
    const std::int64_t last = logged();
    expect_whole(last > 10 ? std::vector<std::int64_t>{5, 10, last} : std::vector<std::int64_t>{5, last});
    EXPECT_EQ(run_strata(2, with(flags(), {"--resume_from_checkpoint", "auto"})).exit_code, 0);
}

TEST_F(HeldUp, a_second_signal_ends_the_run_at_once_and_harms_nothing) {
    start(flags());
    open_gate();
    wait_until([&] { return fs::exists(run_ / "checkpoint-5"); });
    fs::remove(scratch_ / "open");
    wait_until([&] { return fs::exists(run_ / "checkpoint-10.tmp/state.h5") && logged() >= 11; });
    job_->send(SIGUSR1);
    job_->send(SIGUSR1);  // at once, as by two launchers: the same wish
    EXPECT_LT(job_->wait(1.5), 0) << output();
    job_->send(SIGUSR1);  // later, as by a host that is taken away: it asks, and no more
    EXPECT_LT(job_->wait(0.5), 0) << output();
    ASSERT_TRUE(signal_rank(run_, 1, SIGTERM)) << output();
    EXPECT_EQ(job_->wait(30), 1) << output();
    expect_whole({5});
    EXPECT_EQ(finish_and_resume(), 0);
    expect_whole({5, 10, 14});
    EXPECT_FALSE(fs::exists(run_ / "checkpoint-10.tmp"));
}

TEST_F(HeldUp, a_folder_that_is_removed_under_the_run_costs_one_checkpoint) {
    start(flags());
    wait_until([&] { return logged() == 10; });
    remove_run();
    open_gate();
    EXPECT_EQ(job_->wait(60), 0) << output();
    EXPECT_THAT(output(), HasSubstr("strata: checkpoint-5 WAS NOT SAVED"));
    expect_whole({10, 14});
    EXPECT_TRUE(fs::exists(run_ / "model.safetensors"));
}

TEST_F(HeldUp, one_that_is_to_stop_then_stops) {
    start(flags({"--on_save_error", "stop"}));
    wait_until([&] { return logged() == 10; });
    remove_run();
    open_gate();
    EXPECT_THAT(job_->wait(60), testing::AnyOf(1, 2)) << output();  // by which call meets it first
    EXPECT_THAT(output(), AllOf(HasSubstr("strata: checkpoint-5 was not saved: "), Not(HasSubstr("step 11/14"))));
    EXPECT_FALSE(fs::exists(run_ / "checkpoint-10"));
}

TEST_F(HeldUp, where_the_best_cannot_be_saved_the_former_one_is_the_best_again) {
    start(flags({"--eval_strategy", "steps", "--eval_steps", "5", "--load_best_model_at_end", "true",
                 "--save_total_limit", "1"}));
    open_gate();
    wait_until([&] { return fs::exists(run_ / "checkpoint-5"); });
    fs::remove(scratch_ / "open");
    wait_until([&] { return fs::exists(run_ / "checkpoint-10.tmp/state.h5") && logged() >= 11; });
    fs::remove_all(run_ / "checkpoint-10.tmp");
    open_gate();
    EXPECT_EQ(job_->wait(60), 0) << output();
    const auto evaluations = read_lines(run_ / "evaluations.jsonl");
    ASSERT_LT(evaluations[1]["eval_loss"], evaluations[0]["eval_loss"]) << "update 10 was never the best";
    const std::string best = (run_ / "checkpoint-5").string();
    EXPECT_THAT(output(), AllOf(HasSubstr("checkpoint-10 WAS NOT SAVED"), HasSubstr(best + " is the best again"),
                                HasSubstr("the best model is " + best)));
    expect_whole({5, 14});
    EXPECT_EQ(bytes_of(run_ / "model.safetensors"), bytes_of(run_ / "checkpoint-5/model.safetensors"));
}

TEST_F(HeldUp, an_mpi_without_threads_saves_while_training_stands_still) {
    const JobResult job = run_strata(2, flags(), program("STAND_IN_THREADS=1"));
    expect_success(job);
    EXPECT_THAT(job.output, AllOf(HasSubstr("this MPI gives no MPI_THREAD_MULTIPLE"), HasSubstr("checkpoint-5 saved")));
    expect_whole({5, 10, 14});
}

TEST_F(HeldUp, a_quota_that_is_used_up_is_the_users_to_mend) {
    const JobResult job = run_strata(2, flags(), program("STAND_IN_QUOTA=1"));
    EXPECT_EQ(job.exit_code, 2) << job.output;
    EXPECT_THAT(job.output, AllOf(HasSubstr("checkpoint-5 WAS NOT SAVED"), HasSubstr("checkpoint-14 was not saved"),
                                  HasSubstr("quota exceeded")));
    expect_whole({});
    EXPECT_TRUE(fs::exists(run_ / "model.safetensors"));
}

/// As a user's shell or a batch system stops a process, with no mpirun in between.
class Stopping : public testing::TestWithParam<int> {};

TEST_P(Stopping, saves_and_ends_with_75) {
    const ScratchFolder scratch;
    BackgroundJob job(0, with(parity_run(1, scratch / "run"), {"--max_steps", "20000", "--save_strategy", "no"}),
                      scratch / "log");
    while (!fs::exists(scratch / "run/metrics.jsonl") && job.wait(0.02) < 0) {
    }
    job.send(GetParam());
    EXPECT_EQ(job.wait(60), 75) << bytes_of(scratch / "log");
    const auto entries = dist::list_checkpoints(scratch / "run");
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(dist::verify_checkpoint(entries[0].path), std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(Saving, Stopping, testing::Values(SIGTERM, SIGINT, SIGUSR1));

}  // namespace
}  // namespace strata::testing_support
