// A disk that goes bad under a run costs it checkpoints and nothing else: it says so, keeps the ones it has, and saves
// again once the disk is well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <optional>

#include "dist/checkpoint.h"
#include "tests/distributed/job.h"
#include "tests/support/command.h"
#include "tests/support/small_disk.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A run that saves often, on a disk of its own.
class OnBadDisk : public testing::Test {
  protected:
    /// Returns once there are checkpoints to lose.
    void start(const fs::path& disk) {
        run_ = disk / "run";
        job_.emplace(2,
                     with(parity_run(2, run_), {"--max_steps", "20000", "--save_steps", "20", "--save_total_limit", "2",
                                                "--report_to", "none"}),
                     scratch_ / "log");
        wait_until([&] { return newest() >= 40; });
    }
    std::string output() const {
        std::ifstream log(scratch_ / "log", std::ios::binary);
        return {std::istreambuf_iterator<char>(log), {}};
    }
    std::int64_t newest() const {
        const auto entries = dist::list_checkpoints(run_);
        return entries.empty() ? 0 : entries.back().step;
    }
    void wait_until(const std::function<bool()>& condition) {
        for (int tries = 0; tries < 3000 && !condition(); ++tries) {
            ASSERT_LT(job_->wait(0.02), 0) << "the run has ended\n" << output();
        }
        ASSERT_TRUE(condition()) << output();
    }
    void expect_that_saves_fail_and_old_ones_are_whole() {
        wait_until([&] { return output().find(" WAS NOT SAVED: ") != std::string::npos; });
        const auto entries = dist::list_checkpoints(run_);
        ASSERT_GE(entries.size(), 1U);
        for (const auto& entry : entries) EXPECT_EQ(dist::verify_checkpoint(entry.path), std::vector<std::string>{});
        failed_at_ = entries.back().step;
    }
    void expect_that_saves_go_on_and_the_run_ends_well() {
        wait_until([&] { return newest() > failed_at_; });
        job_->send(SIGUSR1);
        EXPECT_EQ(job_->wait(60), 75) << output();
        for (const auto& entry : dist::list_checkpoints(run_))
            EXPECT_EQ(dist::verify_checkpoint(entry.path), std::vector<std::string>{});
    }
    void end_job() { job_.reset(); }

    ScratchFolder scratch_;
    fs::path run_;
    std::int64_t failed_at_ = 0;
    std::optional<BackgroundJob> job_;
};

class OnSmallDisk : public OnBadDisk {
  protected:
    void SetUp() override {
        if (!disk_.mounted()) GTEST_SKIP() << no_small_disk;
        start(disk_.path());
    }
    void TearDown() override { end_job(); }
    void fill() const {
        std::ofstream filler(disk_.path() / "filler", std::ios::binary);
        while (filler << std::string(4096, 'f') << std::flush) {
        }
    }

    SmallDisk disk_{scratch_ / "disk", "12m"};
};

TEST_F(OnSmallDisk, one_that_is_full_costs_checkpoints_and_nothing_else) {
    fill();
    expect_that_saves_fail_and_old_ones_are_whole();
    EXPECT_THAT(output(), HasSubstr("--save_total_limit"));  // what can be done about it
    fs::remove(disk_.path() / "filler");
    expect_that_saves_go_on_and_the_run_ends_well();
}

TEST_F(OnSmallDisk, one_that_becomes_read_only_costs_checkpoints_and_nothing_else) {
    wait_until([&] { return disk_.remount(MS_RDONLY); });
    expect_that_saves_fail_and_old_ones_are_whole();
    EXPECT_THAT(output(), HasSubstr("Read-only file system"));
    ASSERT_TRUE(disk_.remount(0));
    expect_that_saves_go_on_and_the_run_ends_well();
}

TEST_F(OnSmallDisk, a_run_whose_last_save_failed_says_so_at_its_end) {
    fill();
    expect_that_saves_fail_and_old_ones_are_whole();
    job_->send(SIGUSR1);
    EXPECT_EQ(job_->wait(60), 2) << output();
    EXPECT_THAT(output(), HasSubstr(" was not saved: "));
}

/// A folder that may hold so much and no more, of a btrfs file system made in a file; gone with its object. For root,
/// where the kernel has btrfs and loop devices, and btrfs-progs is there.
class LimitedFolder {
  public:
    explicit LimitedFolder(const fs::path& place) : image_(place / "btrfs.img"), disk_(place / "btrfs") {
        fs::create_directories(disk_);
        std::ofstream(image_).close();
        fs::resize_file(image_, std::uintmax_t{512} << 20);  // a sparse file: what is written takes room, no more
        mounted_ =
            does("mkfs.btrfs -q " + image_.string()) && does("mount -o loop " + image_.string() + " " + disk_.string());
        ready_ = mounted_ && does("btrfs quota enable " + disk_.string()) &&
                 does("btrfs subvolume create " + path().string());
    }
    ~LimitedFolder() {
        if (mounted_) ::umount2(disk_.c_str(), MNT_DETACH);
    }
    LimitedFolder(const LimitedFolder&) = delete;
    LimitedFolder& operator=(const LimitedFolder&) = delete;

    bool ready() const { return ready_; }
    const std::string& why_not() const { return why_not_; }
    fs::path path() const { return disk_ / "runs"; }
    /// size: "1M", or "none". 256 is btrfs's number for the first folder of its own kind. The call goes by the disk,
    /// for through the folder itself a limit that is used up cannot be lifted.
    bool limit(const std::string& size) { return does("btrfs qgroup limit " + size + " 0/256 " + disk_.string()); }

  private:
    bool does(const std::string& command) {
        const Outcome outcome = run_command(command);
        if (outcome.exit_code != 0) why_not_ = command + ": " + outcome.output;
        return outcome.exit_code == 0;
    }

    fs::path image_, disk_;
    bool mounted_ = false, ready_ = false;
    std::string why_not_;
};

class UnderQuota : public OnBadDisk {
  protected:
    void SetUp() override {
        if (!folder_.ready()) GTEST_SKIP() << "no folder with a quota can be made here: " << folder_.why_not();
        start(folder_.path());
    }
    void TearDown() override { end_job(); }

    LimitedFolder folder_{scratch_.path()};
};

TEST_F(UnderQuota, a_quota_used_up_costs_checkpoints_and_nothing_else) {
    ASSERT_TRUE(folder_.limit("1M")) << folder_.why_not();
    expect_that_saves_fail_and_old_ones_are_whole();
    EXPECT_THAT(output(), AllOf(HasSubstr("quota exceeded"), HasSubstr("make room there")));
    ASSERT_TRUE(folder_.limit("none")) << folder_.why_not();
    expect_that_saves_go_on_and_the_run_ends_well();
}

}  // namespace
}  // namespace strata::testing_support
