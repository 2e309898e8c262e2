// The copy of slices that lie on a GPU, which checkpoints are written from and read into, over the stand-in of a GPU.
#include "dist/state_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "optim/cuda_handles.h"
#include "tests/support/cuda_stand_in.h"

namespace strata::dist::testing {
namespace {

using ::testing::ElementsAre;

/// Two groups' weights and one's moments, on the GPU.
class SnapshotOfAGpu : public ::testing::Test {
  protected:
    float* on_gpu(optim::DeviceMemory& memory, const std::vector<float>& values) {
        auto* const data = reinterpret_cast<float*>(memory.at_least(values.size() * sizeof(float)));
        optim::copy_bytes(data, values.data(), values.size() * sizeof(float), nullptr);
        return data;
    }
    static std::vector<float> fetch(const float* from, std::size_t elements) {
        std::vector<float> values(elements);
        optim::copy_bytes(values.data(), from, elements * sizeof(float), nullptr);
        return values;
    }
    std::vector<StateGroup> groups() {
        std::vector<StateGroup> made(2);
        made[0].begin = 4;
        made[0].end = 7;
        made[0].master = weights_;
        made[0].exp_avg = moments_;
        made[1].end = 2;
        made[1].master = weights_ + 3;
        return made;
    }

    optim::DeviceMemory memory_[2];
    float* weights_ = on_gpu(memory_[0], {1, 2, 3, 4, 5});
    float* moments_ = on_gpu(memory_[1], {6, 7, 8});
};

TEST_F(SnapshotOfAGpu, HoldsWhatTheSlicesWere) {
    StateSnapshot snapshot(Memory::cuda);
    std::vector<StateGroup> taken = groups();
    snapshot.take(taken);
    EXPECT_EQ(snapshot.bytes(), 8 * 4);
    on_gpu(memory_[0], {-1, -1, -1, -1, -1});
    optim::wait_for(nullptr);
    EXPECT_THAT(std::vector<float>(taken[0].master, taken[0].master + 3), ElementsAre(1, 2, 3));
    EXPECT_THAT(std::vector<float>(taken[0].exp_avg, taken[0].exp_avg + 3), ElementsAre(6, 7, 8));
    EXPECT_THAT(std::vector<float>(taken[1].master, taken[1].master + 2), ElementsAre(4, 5));
    EXPECT_EQ(taken[1].exp_avg, nullptr);
}

TEST_F(SnapshotOfAGpu, GivesBackWhatWasReadIntoIt) {
    StateSnapshot snapshot(Memory::cuda);
    std::vector<StateGroup> taken = groups();
    snapshot.take(taken);
    taken[0].master[1] = 20;
    taken[0].exp_avg[2] = 80;
    taken[1].master[0] = 40;
    snapshot.give_back();
    EXPECT_THAT(fetch(weights_, 5), ElementsAre(1, 20, 3, 40, 5));
    EXPECT_THAT(fetch(moments_, 3), ElementsAre(6, 7, 80));
}

/// 1, 3 and 5, which a file has as fp32; and back to nearest.
TEST_F(SnapshotOfAGpu, WidensBf16Weights) {
    optim::DeviceMemory memory;
    const std::vector<std::uint16_t> bf16{0x3F80, 0x4040, 0x40A0};
    auto* const there = reinterpret_cast<std::uint16_t*>(memory.at_least(6));
    optim::copy_bytes(there, bf16.data(), 6, nullptr);
    for (const bool all : {true, false}) {
        std::vector<StateGroup> taken = groups();
        taken[0].master = nullptr;
        taken[0].bf16_weights = there;
        StateSnapshot snapshot(Memory::cuda);
        all ? snapshot.take(taken) : snapshot.stage(taken);
        EXPECT_EQ(snapshot.bytes(), 8 * 4) << "nothing on a GPU is where HDF5 reads it";
        EXPECT_THAT(std::vector<float>(taken[0].master, taken[0].master + 3), ElementsAre(1, 3, 5));
        EXPECT_THAT(std::vector<float>(taken[1].master, taken[1].master + 2), ElementsAre(4, 5));
        taken[0].master[1] = 7.001F;
        snapshot.give_back();
        std::vector<std::uint16_t> back(3);
        optim::copy_bytes(back.data(), there, 6, nullptr);
        EXPECT_THAT(back, ElementsAre(0x3F80, 0x40E0, 0x40A0));
        optim::copy_bytes(there, bf16.data(), 6, nullptr);
    }
}

}  // namespace
}  // namespace strata::dist::testing
