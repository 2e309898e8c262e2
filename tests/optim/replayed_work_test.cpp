#include "optim/replayed_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace strata::optim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Way = ReplayedWork::Way;

/// Remembers the work, and does it at each replay.
class Remembered final : public Recording {
  public:
    explicit Remembered(int* alive) : alive_(alive) { ++*alive_; }
    ~Remembered() override { --*alive_; }
    void record(const std::function<void()>& work) override {
        if (fails) throw SystemError("cudaStreamSynchronize(stream) failed");
        work_ = work;
    }
    void replay() override { work_(); }

    static inline bool fails = false;

  private:
    int* alive_;
    std::function<void()> work_;
};

class Replays : public ::testing::Test {
  protected:
    ~Replays() override { Remembered::fails = false; }
    Way run(std::int64_t key, std::int64_t baked_in = 0) {
        return work_.run(key, {baked_in}, [this] { ++done_; });
    }

    int alive_ = 0;
    int done_ = 0;
    ReplayedWork work_{[this] { return std::make_unique<Remembered>(&alive_); }, {.direct_first = 2, .recordings = 2}};
};

TEST_F(Replays, RunsDirectlyThenRecordsThenReplays) {
    const std::vector<Way> ways{run(1), run(1), run(1), run(1), run(1)};
    EXPECT_EQ(ways, (std::vector{Way::direct, Way::direct, Way::recorded, Way::replayed, Way::replayed}));
    EXPECT_EQ(done_, 5) << "each once";
    EXPECT_EQ(work_.counts(), (ReplayCounts{2, 1, 2, 0}));
}

TEST_F(Replays, EachShapeWarmsUpByItself) {
    for (int i = 0; i < 3; ++i) run(1);
    EXPECT_EQ(run(2), Way::direct);
    EXPECT_EQ(run(1), Way::replayed);
}

TEST_F(Replays, GoWhenWhatTheyBakedInChanges) {
    for (int i = 0; i < 4; ++i) run(1);
    EXPECT_EQ(run(1, 7), Way::direct);
    EXPECT_EQ(alive_, 0);
    EXPECT_EQ(work_.counts().dropped, 1);
    run(1, 7);
    EXPECT_EQ(run(1, 7), Way::recorded);
    EXPECT_EQ(run(1, 0), Way::direct) << "not the ones of before";
}

TEST_F(Replays, KeepTheLastUsed) {
    for (const std::int64_t key : {1, 2}) {
        for (int i = 0; i < 3; ++i) run(key);
    }
    EXPECT_EQ(run(1), Way::replayed);  // so 2 is the oldest
    for (int i = 0; i < 3; ++i) run(3);
    EXPECT_EQ(alive_, 2);
    EXPECT_EQ(run(1), Way::replayed);
    EXPECT_EQ(run(2), Way::recorded) << "warm already";
    EXPECT_EQ(run(3), Way::recorded) << "it was the oldest by then";
}

TEST_F(Replays, AFailureSaysWhatFailedAndWhatToDo) {
    run(1);
    run(1);
    Remembered::fails = true;
    try {
        run(1);
        FAIL();
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("cudaStreamSynchronize"), HasSubstr("--cuda_graph false")));
    }
    EXPECT_EQ(done_, 2);
    EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace strata::optim
