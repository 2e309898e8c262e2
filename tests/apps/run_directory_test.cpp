#include "apps/strata/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"

namespace strata::app {
namespace {

namespace fs = std::filesystem;

class RunDirectoryTest : public testing::Test {
  protected:
    // ctest runs tests side by side: the process number keeps their folders apart.
    RunDirectoryTest()
        : path_(fs::path(testing::TempDir()) / ("run_directory_test_" + std::to_string(::getpid()))), run_(path_) {
        fs::remove_all(path_);
    }
    ~RunDirectoryTest() override { fs::remove_all(path_); }
    fs::path path_;
    RunDirectory run_;
};

TEST_F(RunDirectoryTest, refuses_another_run_and_says_what_to_do) {
    run_.start(false);
    run_.write_text("config.toml", "");
    try {
        run_.start(false);
        FAIL() << "the second run must be refused";
    } catch (const UserError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("--resume_from_checkpoint auto"));
        EXPECT_THAT(error.what(), testing::HasSubstr("--overwrite_output_dir true"));
    }
}

TEST_F(RunDirectoryTest, a_folder_that_cannot_be_made_is_the_users_to_mend) {
    run_.start(false);
    run_.write_text("file", "");
    try {
        RunDirectory(path_ / "file" / "run").start(false);
        FAIL() << "there is no folder in a file";
    } catch (const UserError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("cannot be made"));
    }
}

TEST_F(RunDirectoryTest, overwriting_removes_the_run_and_nothing_else) {
    run_.start(false);
    run_.write_text("config.toml", "");
    run_.write_text("my_notes.txt", "keep me");
    fs::create_directories(path_ / "checkpoint-5");
    fs::create_directories(path_ / "checkpoint-9.tmp");
    run_.write_results("eval", {{"eval_accuracy", 0.5}});
    run_.start(true);
    EXPECT_TRUE(fs::exists(path_ / "my_notes.txt"));
    EXPECT_FALSE(fs::exists(path_ / "checkpoint-5"));
    EXPECT_FALSE(fs::exists(path_ / "checkpoint-9.tmp"));
    EXPECT_FALSE(fs::exists(path_ / "all_results.json"));
    EXPECT_FALSE(fs::exists(path_ / "eval_results.json"));
}

TEST_F(RunDirectoryTest, resuming_drops_lines_of_steps_that_will_be_made_again) {
    run_.start(false);
    for (int step = 1; step <= 4; ++step) run_.append_metrics({{"step", step}});
    run_.write_text("metrics.jsonl", read_file(path_ / "metrics.jsonl") + "{\"step\": 5, \"lo");
    run_.resume(2);
    EXPECT_EQ(read_file(path_ / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(RunDirectoryTest, results_merge_into_all_results) {
    run_.start(false);
    run_.write_results("train", {{"train_loss", 1.5}});
    run_.write_results("eval", {{"eval_accuracy", 0.5}});
    const auto all = nlohmann::json::parse(read_file(path_ / "all_results.json"));
    EXPECT_EQ(all, (nlohmann::json{{"train_loss", 1.5}, {"eval_accuracy", 0.5}}));
}

}  // namespace
}  // namespace strata::app
