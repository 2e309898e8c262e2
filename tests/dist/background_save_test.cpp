// Saving beside training: what is saved is what was there when the save began, whatever training does meanwhile.
#include <gmock/gmock.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "dist/background_task.h"
#include "dist/checkpoint.h"
#include "dist/state_map.h"
#include "dist/state_snapshot.h"
#include "tests/dist/saved_state.h"

namespace strata::dist::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class BackgroundSaveTest : public SavedState {
  protected:
    std::int64_t slice_bytes() const {
        std::int64_t bytes = 0;
        for (const StateGroup& group : state_.groups) {
            for (const StateKind kind : state_kinds) {
                if (pointer_of(group, kind) != nullptr) bytes += (group.end - group.begin) * 4;
            }
        }
        return bytes;
    }
};

/// Closed until it is opened; whoever comes waits.
class Gate {
  public:
    void open() { open_ = true; }
    void pass() const {
        while (!open_) std::this_thread::sleep_for(1ms);
    }

  private:
    std::atomic<bool> open_{false};
};

TEST_F(BackgroundSaveTest, HasTheBitsOfASaveAtTheSameMoment) {
    const std::string expected =
        read_file(write_checkpoint(world_, folder_.path() / "at once", content(5)) / "state.h5");
    StateSnapshot snapshot;
    BackgroundTask task(world_);
    Gate before;
    Gate within;
    CheckpointContent copied = content(5);
    snapshot.take(copied.groups);
    copied.write_files = [&](const fs::path& folder) {
        within.pass();
        write_file_atomically(folder / "model.safetensors", "model");
    };
    task.start([&](MpiCommunicator& own) {
        before.pass();
        write_checkpoint(own, folder_.path() / "beside", copied);
    });
    state_.fill_with(-1.0F);  // a step of training, before the first byte is written
    before.open();
    // And ranks talk to one another while rank 0 is held up in its file, which no other rank could know.
    for (int step = 0; step < 50; ++step)
        EXPECT_EQ(world_.all_reduce_max(world_.rank() + step), world_.size() - 1 + step);
    EXPECT_FALSE(world_.rank() == 0 && task.done());
    EXPECT_TRUE(list_checkpoints(folder_.path() / "beside").empty());
    world_.barrier();
    within.open();
    task.finish();
    EXPECT_FALSE(task.started());
    EXPECT_EQ(verify_checkpoint(folder_.path() / "beside/checkpoint-5"), std::vector<std::string>{});
    EXPECT_TRUE(expected == read_file(folder_.path() / "beside/checkpoint-5/state.h5"));
}

/// The most memory that the process holds from here on, above what it holds now.
class MemoryGrowth {
  public:
    MemoryGrowth() {
        std::ofstream("/proc/self/clear_refs") << "5";  // the peak is what is held now
        before_ = kilobytes("VmHWM");
    }
    std::int64_t bytes() const { return (kilobytes("VmHWM") - before_) * 1024; }

  private:
    static std::int64_t kilobytes(const std::string& name) {
        std::ifstream status("/proc/self/status");
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1));
        }
        return 0;
    }
    std::int64_t before_ = 0;
};

TEST_F(BackgroundSaveTest, TakesNoMoreMemoryThanTheSlicesAndATenth) {
    const auto save = [&](const OwnedState& state, const char* folder) {
        StateSnapshot snapshot;
        CheckpointContent copied = content(5);
        copied.groups = state.groups;
        snapshot.take(copied.groups);
        BackgroundTask task(world_);
        task.start([&](MpiCommunicator& own) { write_checkpoint(own, folder_.path() / folder, copied); });
        task.finish();
    };
    save(state_, "small");  // what the first save of a process takes once
    OwnedState large;
    large.add("body", {{"body.weight", {world_.size(), 9'000'000}}}, world_.rank(), world_.size());
    large.fill();
    const std::int64_t slices = 3 * (large.groups[0].end - large.groups[0].begin) * 4;
    const MemoryGrowth growth;
    save(large, "large");
    EXPECT_GE(growth.bytes(), slices / 2) << "nothing was measured";
    EXPECT_LE(growth.bytes(), slices + slices / 10);
}

TEST_F(BackgroundSaveTest, TheCopyIsAsLargeAsTheSlicesAndIsUsedAgain) {
    StateSnapshot snapshot;
    std::vector<StateGroup> groups = state_.groups;
    snapshot.take(groups);
    EXPECT_EQ(snapshot.bytes(), slice_bytes());
    const float* const first = groups[0].master;
    for (std::size_t i = 0; i < groups.size(); ++i) {
        for (const StateKind kind : state_kinds) {
            const float* original = pointer_of(state_.groups[i], kind);
            ASSERT_EQ(pointer_of(groups[i], kind) == nullptr, original == nullptr);
            if (original == nullptr) continue;
            EXPECT_NE(pointer_of(groups[i], kind), original);
            EXPECT_TRUE(
                std::equal(original, original + (groups[i].end - groups[i].begin), pointer_of(groups[i], kind)));
        }
    }
    groups = state_.groups;
    groups.pop_back();
    snapshot.take(groups);
    EXPECT_EQ(groups[0].master, first);
    EXPECT_EQ(snapshot.bytes(), slice_bytes());
}

/// Long enough for several of the pieces that they are widened in.
TEST_F(BackgroundSaveTest, Bf16WeightsAreWidenedAndGivenBack) {
    std::vector<std::uint16_t> bf16;
    for (std::uint32_t i = 0; i < 1300; ++i) bf16.push_back(static_cast<std::uint16_t>(0x3C00U + i));
    const std::vector<std::uint16_t> before = bf16;
    std::vector<float> moments(1300, 0.5F);
    for (const bool all : {true, false}) {
        std::vector<StateGroup> groups(1);
        groups[0].end = 1300;
        groups[0].exp_avg = moments.data();
        groups[0].bf16_weights = bf16.data();
        EXPECT_THROW(pointer_of(groups[0], StateKind::master), std::logic_error) << "no file has them so";
        StateSnapshot snapshot;
        all ? snapshot.take(groups) : snapshot.stage(groups);
        EXPECT_EQ(groups[0].exp_avg == moments.data(), !all) << "fp32 in host memory is staged as it is";
        EXPECT_EQ(snapshot.bytes(), (all ? 2 : 1) * 1300 * 4);
        const float* const weights = pointer_of(groups[0], StateKind::master);
        for (std::size_t i = 0; i < bf16.size(); ++i) ASSERT_EQ(weights[i], optim::bf16_to_float(before[i])) << i;
        std::fill(bf16.begin(), bf16.end(), std::uint16_t{0});
        snapshot.give_back();
        EXPECT_EQ(bf16, before);
    }
}

TEST_F(BackgroundSaveTest, WhereThereIsNoRoomForACopyGroupsStayAsTheyWere) {
    std::uint16_t weight = 0x3F80;
    std::vector<StateGroup> groups(1);
    groups[0].end = std::int64_t{1} << 50;
    groups[0].bf16_weights = &weight;
    StateSnapshot snapshot;
    EXPECT_THROW(snapshot.take(groups), std::bad_alloc);
    EXPECT_EQ(groups[0].bf16_weights, &weight);
    EXPECT_EQ(groups[0].master, nullptr);
}

TEST_F(BackgroundSaveTest, AFailureComesToAllRanksWhenTheyAskAndTheNextJobGoesOn) {
    BackgroundTask task(world_);
    CheckpointContent failing = content(6);
    failing.write_files = [](const fs::path&) { system_error("the disk is gone"); };
    task.start([&](MpiCommunicator& own) { write_checkpoint(own, folder_.path(), failing); });
    std::string message;
    try {
        task.finish();
    } catch (const AgreedSystemError& error) {
        message = error.what();
    }
    EXPECT_THAT(message, ::testing::HasSubstr("the disk is gone"));
    world_.barrier();
    EXPECT_TRUE(fs::is_empty(folder_.path()));
    world_.barrier();
    task.start([&](MpiCommunicator& own) { write_checkpoint(own, folder_.path(), content(7)); });
    task.finish();
    EXPECT_EQ(verify_checkpoint(folder_.path() / "checkpoint-7"), std::vector<std::string>{});
}

TEST_F(BackgroundSaveTest, TheEndWaits) {
    {
        BackgroundTask task(world_);
        task.start([&](MpiCommunicator& own) {
            std::this_thread::sleep_for(100ms);
            write_checkpoint(own, folder_.path(), content(8));
        });
    }
    EXPECT_EQ(verify_checkpoint(folder_.path() / "checkpoint-8"), std::vector<std::string>{});
}

double thread_seconds() {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

TEST_F(BackgroundSaveTest, WhoWaitsForAnotherRankLeavesItsCoreAlone) {
    BackgroundTask task(world_);
    double used = 0;
    std::vector<std::string> all;
    task.start([&](MpiCommunicator& own) {
        if (own.rank() == 0) std::this_thread::sleep_for(1s);
        const double began = thread_seconds();
        all = own.all_gather_bytes(std::to_string(own.rank()));
        EXPECT_EQ(own.all_reduce_max(own.rank()), own.size() - 1);
        used = thread_seconds() - began;
    });
    task.finish();
    ASSERT_EQ(all.size(), static_cast<std::size_t>(world_.size()));
    for (int rank = 0; rank < world_.size(); ++rank)
        EXPECT_EQ(all[static_cast<std::size_t>(rank)], std::to_string(rank));
    // Awake it would be the whole second; asleep it is some five hundred looks.
    EXPECT_LT(used, 0.4);
}

TEST_F(BackgroundSaveTest, AMappedStateIsTheWrittenOne) {
    const fs::path saved = write_checkpoint(world_, folder_.path(), content(9));
    const StateMap map(saved / "state.h5");
    for (std::size_t i = 0; i < state_.groups.size(); ++i) {
        const StateGroup& group = state_.groups[i];
        for (const StateKind kind : state_kinds) {
            const float* own = pointer_of(group, kind);
            ASSERT_EQ(map.data(i, kind) == nullptr, own == nullptr);
            if (own == nullptr || group.begin == group.end) continue;
            EXPECT_EQ(std::memcmp(map.data(i, kind) + group.begin * 4, own,
                                  static_cast<std::size_t>(group.end - group.begin) * 4),
                      0);
        }
    }
}

}  // namespace
}  // namespace strata::dist::testing
