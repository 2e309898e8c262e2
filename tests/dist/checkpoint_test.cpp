// The life of a checkpoint folder, on any number of ranks, with disks that fill and jobs that die.
#include "dist/checkpoint.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "tests/dist/saved_state.h"
#include "tests/support/small_disk.h"

namespace strata::dist::testing {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public SavedState {
  protected:
    fs::path save(std::int64_t step) { return write_checkpoint(world_, folder_.path(), content(step)); }

    /// The one error that all ranks must throw.
    std::string error_of_saving(const fs::path& where, const CheckpointContent& content,
                                const CheckpointOptions& options = {}) {
        std::string text;
        try {
            write_checkpoint(world_, where, content, options);
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        for (const std::string& other : world_.all_gather_bytes(text)) EXPECT_EQ(other, text);
        return text;
    }

    std::vector<std::string> names_in(const fs::path& directory) const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
        std::sort(names.begin(), names.end());
        return names;
    }

    void flip_bit(const fs::path& file, std::uint64_t at) {
        if (world_.rank() == 0) {
            std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
            stream.seekg(static_cast<std::streamoff>(at));
            const int byte = stream.get();
            stream.seekp(static_cast<std::streamoff>(at));
            stream.put(static_cast<char>(byte ^ 16));
        }
        world_.barrier();
    }
};

TEST_F(CheckpointTest, IsWholeAndVerifies) {
    const fs::path saved = save(40);
    EXPECT_EQ(saved, folder_.path() / "checkpoint-40");
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"checkpoint-40"});
    EXPECT_EQ(names_in(saved), (std::vector<std::string>{"checksums.json", "config.json", "model.safetensors",
                                                         "state.h5", "trainer_state.json"}));
    EXPECT_EQ(verify_checkpoint(saved), std::vector<std::string>{});
    const std::string text = inspect_checkpoint(saved);
    for (const char* part :
         {"step               40", "epoch              1.2500", "body", "frozen", "master exp_avg exp_avg_sq", "none",
          "164,096", "9.8 KiB", "learning_rate = 2e-5", "\"strata\": \"0.1.0\"", "fedcba9876543210"}) {
        EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text.substr(0, 2000);
    }
}

TEST_F(CheckpointTest, TheSameStateGivesTheSameBytes) {
    const std::string first = read_file(save(1) / "state.h5");
    world_.barrier();
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 would note times, in seconds
    EXPECT_TRUE(first == read_file(save(1) / "state.h5"));
}

TEST_F(CheckpointTest, ReplacesAFolderOfTheSameStep) {
    save(40);
    CheckpointContent other = content(40);
    other.trainer_state = "{}\n";
    const fs::path saved = write_checkpoint(world_, folder_.path(), other);
    EXPECT_EQ(read_file(saved / "trainer_state.json"), "{}\n");
    EXPECT_EQ(verify_checkpoint(saved), std::vector<std::string>{});
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"checkpoint-40"});
}

TEST_F(CheckpointTest, WhatADeadJobLeftIsNeverSeenAndIsRemoved) {
    save(10);
    if (world_.rank() == 0) {
        fs::create_directories(folder_.path() / "checkpoint-20.tmp");
        write_file_atomically(folder_.path() / "checkpoint-20.tmp" / "state.h5", "half");
        fs::create_directories(folder_.path() / "checkpoint-30.tmp" / "deep");
        fs::rename(folder_.path() / "checkpoint-10", folder_.path() / "checkpoint-10.replaced");
        fs::create_directories(folder_.path() / "checkpoint-best");
        write_file_atomically(folder_.path() / "checkpoint-77", "a file");
    }
    world_.barrier();
    EXPECT_TRUE(list_checkpoints(folder_.path()).empty());
    world_.barrier();
    save(20);
    const auto entries = list_checkpoints(folder_.path());
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].step, 10);
    EXPECT_EQ(entries[1].step, 20);
    EXPECT_EQ(verify_checkpoint(entries[0].path), std::vector<std::string>{});
    EXPECT_FALSE(fs::exists(folder_.path() / "checkpoint-30.tmp"));
    EXPECT_TRUE(fs::exists(folder_.path() / "checkpoint-best"));
}

TEST_F(CheckpointTest, AFailureOnOneRankIsOneErrorOnAllAndLeavesNothing) {
    save(10);
    CheckpointContent failing = content(20);
    failing.write_files = [](const fs::path& folder) {
        write_file_atomically(folder / "config.json", "{}");
        system_error("the model would not be written");
    };
    EXPECT_NE(error_of_saving(folder_.path(), failing).find("the model would not be written"), std::string::npos);
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"checkpoint-10"});
    EXPECT_EQ(verify_checkpoint(folder_.path() / "checkpoint-10"), std::vector<std::string>{});
}

TEST_F(CheckpointTest, TooLittleSpaceIsSaidBeforeAnythingIsWritten) {
    CheckpointContent large = content(20);
    large.file_bytes = std::uint64_t{1} << 60;
    large.write_files = [](const fs::path&) { FAIL() << "something was written"; };
    const std::string text = error_of_saving(folder_.path(), large);
    EXPECT_NE(text.find(folder_.path().string()), std::string::npos) << text;
    EXPECT_NE(text.find("needs 1048576.0 TiB"), std::string::npos) << text;
    EXPECT_NE(text.find("--save_total_limit"), std::string::npos) << text;
    EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CheckpointTest, AnUnwritableFolderIsAnError) {
    if (world_.rank() == 0) write_file_atomically(folder_.path() / "file", "");
    world_.barrier();
    const std::string text = error_of_saving(folder_.path() / "file" / "run", content(1));
    EXPECT_NE(text.find("file/run"), std::string::npos) << text;
}

/// A disk of 8 MiB at `path`, mounted by rank 0 for all.
class SharedDisk {
  public:
    SharedDisk(MpiCommunicator& world, const fs::path& path) : world_(world) {
        if (world.rank() == 0) disk_.emplace(path, "8m");
        mounted_ = world.all_reduce_max(disk_ && disk_->mounted() ? 1 : 0) == 1;
    }
    ~SharedDisk() {
        world_.barrier();
        disk_.reset();
        world_.barrier();
    }
    SharedDisk(const SharedDisk&) = delete;
    SharedDisk& operator=(const SharedDisk&) = delete;

    bool mounted() const { return mounted_; }

  private:
    MpiCommunicator& world_;
    std::optional<testing_support::SmallDisk> disk_;
    bool mounted_ = false;
};

TEST_F(CheckpointTest, ADiskThatFillsWhileSavingHarmsNothing) {
    const fs::path disk_path = folder_.path() / "disk";
    const SharedDisk disk(world_, disk_path);
    if (!disk.mounted()) GTEST_SKIP() << testing_support::no_small_disk;

    write_checkpoint(world_, disk_path, content(10));  // 2 MB
    // Where the space can be claimed, where it runs out inside the collective write, and where not even the layout
    // fits.
    for (const auto& [reserve, room] : {std::pair{true, 1'000'000}, {false, 1'000'000}, {false, 300'000}, {true, 0}}) {
        const fs::path filler = disk_path / "filler";
        if (world_.rank() == 0) {
            std::ofstream(filler, std::ios::binary)
                << std::string(free_bytes(disk_path) - static_cast<std::size_t>(room), 'f');
        }
        world_.barrier();
        CheckpointOptions options;
        options.state.reserve_space = reserve;
        options.check_space = false;
        EXPECT_THROW({ write_checkpoint(world_, disk_path, content(20), options); }, UserError);
        const std::string text = error_of_saving(disk_path, content(20), options);
        world_.barrier();
        if (world_.rank() == 0) fs::remove(filler);
        EXPECT_NE(text.find("checkpoint-20.tmp/state.h5"), std::string::npos) << text;
        EXPECT_NE(text.find(reserve ? "No space left on device" : "the disk is full"), std::string::npos) << text;
        world_.barrier();
        EXPECT_EQ(names_in(disk_path), std::vector<std::string>{"checkpoint-10"})
            << "reserve " << reserve << " room " << room;
        EXPECT_EQ(verify_checkpoint(disk_path / "checkpoint-10"), std::vector<std::string>{});
        world_.barrier();
    }
    // The next one, with room again, is whole.
    EXPECT_EQ(verify_checkpoint(write_checkpoint(world_, disk_path, content(30))), std::vector<std::string>{});
}

TEST_F(CheckpointTest, FallsBackToTheNewestThatVerifies) {
    for (const std::int64_t step : {9, 10, 100}) save(step);
    flip_bit(folder_.path() / "checkpoint-100" / "model.safetensors", 5000);
    const auto extents = StateFile(folder_.path() / "checkpoint-10" / "state.h5").extents();
    world_.barrier();
    const auto bulk = std::find_if(extents.begin(), extents.end(),
                                   [](const auto& extent) { return extent.dataset == "/groups/body/exp_avg"; });
    flip_bit(folder_.path() / "checkpoint-10" / "state.h5", bulk->offset + 12345);

    std::vector<std::string> warnings;
    const auto warn = [&](const std::string& text) { warnings.push_back(text); };
    EXPECT_EQ(newest_valid_checkpoint(folder_.path(), warn), folder_.path() / "checkpoint-9");
    ASSERT_EQ(warnings.size(), 2U);
    EXPECT_NE(warnings[0].find("checkpoint-100/model.safetensors"), std::string::npos) << warnings[0];
    EXPECT_NE(warnings[1].find("/groups/body/exp_avg"), std::string::npos) << warnings[1];

    const std::vector<std::string> alone = warnings;
    warnings.clear();
    EXPECT_EQ(newest_valid_checkpoint(world_, folder_.path(), warn), folder_.path() / "checkpoint-9");
    EXPECT_EQ(warnings, world_.rank() == 0 ? alone : std::vector<std::string>{});
    world_.barrier();
    flip_bit(folder_.path() / "checkpoint-9" / "checksums.json", 30);
    EXPECT_EQ(newest_valid_checkpoint(world_, folder_.path(), nullptr), std::nullopt);
    EXPECT_EQ(newest_valid_checkpoint(world_, folder_.path() / "nowhere", nullptr), std::nullopt);
}

TEST_F(CheckpointTest, RotationGoesByStepAndSparesTheNewestAndTheProtected) {
    if (world_.rank() == 0) {
        const fs::path base = folder_.path();
        for (const int step : {5, 9, 10, 100, 20}) fs::create_directory(base / ("checkpoint-" + std::to_string(step)));
        EXPECT_TRUE(rotate_checkpoints(base, 0).empty());
        const std::vector<fs::path> best{base / "." / "checkpoint-9", base / "checkpoint-gone"};
        EXPECT_EQ(rotate_checkpoints(base, 3, best),
                  (std::vector<fs::path>{base / "checkpoint-5", base / "checkpoint-10"}));
        EXPECT_EQ(names_in(base), (std::vector<std::string>{"checkpoint-100", "checkpoint-20", "checkpoint-9"}));
        EXPECT_EQ(rotate_checkpoints(base, 1, best), (std::vector<fs::path>{base / "checkpoint-20"}));
        EXPECT_EQ(names_in(base), (std::vector<std::string>{"checkpoint-100", "checkpoint-9"}));
        EXPECT_TRUE(rotate_checkpoints(base / "nowhere", 1).empty());
    }
}

TEST_F(CheckpointTest, OpeningWhatIsNoCheckpointIsTheUsersError) {
    EXPECT_THROW(open_checkpoint_state(folder_.path() / "nowhere"), UserError);
    EXPECT_THROW(open_checkpoint_state(folder_.path()), UserError);
}

}  // namespace
}  // namespace strata::dist::testing
