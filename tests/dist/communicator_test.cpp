#include "dist/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include "core/error.h"
#include "dist/buckets.h"
#include "dist/mpi_communicator.h"
#include "optim/compute_type.h"

namespace {

/// What goes wrong in MPI, and how often it was waited for.
struct Faults {
    int starts_until_failure = 0;  // 0: none fails
    int waits_until_failure = 0;
    int waits = 0;
};

Faults& faults() {
    static Faults state;
    return state;
}

bool fails_now(int& until_failure) {
    return until_failure > 0 && --until_failure == 0;
}

}  // namespace

// MPI's profiling interface: a program may stand between its callers and the library.
extern "C" int MPI_Isend(const void* from, int count, MPI_Datatype type, int to, int tag, MPI_Comm communicator,
                         MPI_Request* request) {
    if (fails_now(faults().starts_until_failure)) return MPI_ERR_OTHER;
    return PMPI_Isend(from, count, type, to, tag, communicator, request);
}

extern "C" int MPI_Irecv(void* to, int count, MPI_Datatype type, int from, int tag, MPI_Comm communicator,
                         MPI_Request* request) {
    if (fails_now(faults().starts_until_failure)) return MPI_ERR_OTHER;
    return PMPI_Irecv(to, count, type, from, tag, communicator, request);
}

extern "C" int MPI_Wait(MPI_Request* request, MPI_Status* status) {
    const int result = PMPI_Wait(request, status);
    ++faults().waits;
    return fails_now(faults().waits_until_failure) ? MPI_ERR_OTHER : result;
}

namespace strata::dist {
namespace {

TEST(MpiCommunicator, KnowsItsPlace) {
    const MpiCommunicator communicator;
    int rank = -1;
    int size = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    EXPECT_EQ(communicator.rank(), rank);
    EXPECT_EQ(communicator.size(), size);
    EXPECT_EQ(communicator.local_rank(), rank) << "these tests run on one host";
    EXPECT_EQ(communicator.local_size(), size);
    EXPECT_FALSE(communicator.host().empty());
}

TEST(MpiCommunicator, CountsBytesByTheClosedFormulas) {
    MpiCommunicator communicator;
    const std::int64_t n = communicator.size();
    const std::int64_t elements = 1200;  // whole parts for 1 to 4 ranks
    std::vector<float> values(static_cast<std::size_t>(elements));
    communicator.all_reduce_sum(BufferView::of(values)).wait();
    communicator.all_gather(PartedView::of(values, communicator.size())).wait();
    communicator.reduce_scatter_sum(PartedView::of(values, communicator.size())).wait();
    communicator.broadcast(std::as_writable_bytes(std::span(values)));
    const std::int64_t bytes = elements * 4;
    const auto& traffic = communicator.traffic();
    EXPECT_EQ(traffic.all_reduce.bytes, 2 * bytes * (n - 1) / n);
    EXPECT_EQ(traffic.all_gather.bytes, bytes * (n - 1) / n);
    EXPECT_EQ(traffic.reduce_scatter.bytes, bytes * (n - 1) / n);
    EXPECT_EQ(traffic.broadcast.bytes, n > 1 ? bytes : 0);
    EXPECT_EQ(traffic.calls(), 4);
}

TEST(MpiCommunicator, CountsSmallAndOddSizesByTheSameFormulas) {
    MpiCommunicator communicator;
    const std::int64_t n = communicator.size();
    const auto count_of = [&](const std::function<void()>& action) {
        const auto before = communicator.traffic();
        action();
        const auto spent = communicator.traffic() - before;
        EXPECT_EQ(spent.calls(), 1);
        return spent.bytes();
    };
    std::vector<float> values(static_cast<std::size_t>(20 * n));
    std::vector<double> doubles(7);
    for (const std::int64_t count : {0, 1, 5}) {
        const std::span part = std::span(values).first(static_cast<std::size_t>(count));
        EXPECT_EQ(count_of([&] { communicator.all_reduce_sum(BufferView::of(part)).wait(); }),
                  2 * count * 4 * (n - 1) / n);
        EXPECT_EQ(count_of([&] {
                      communicator.all_gather({values.data(), count, 9}).wait();
                  }),
                  count * 4 * (n - 1))
            << "gaps are not sent";
    }
    const std::vector<PartedView> pieces{{values.data(), 3, 3}, {values.data() + 10 * n, 2, 5}};
    EXPECT_EQ(count_of([&] { communicator.all_gather(pieces).wait(); }), 5 * 4 * (n - 1));
    EXPECT_EQ(count_of([&] { communicator.all_reduce_sum(doubles); }), 2 * 7 * 8 * (n - 1) / n);
    EXPECT_EQ(count_of([&] { communicator.all_reduce_max(1); }), 2 * 8 * (n - 1) / n);
    EXPECT_EQ(count_of([&] { communicator.all_gather_bytes("seven b"); }), 7 * (n - 1));
}

TEST(MpiCommunicator, SumsHaveTheSameBitsOnEveryRankAndEveryTime) {
    MpiCommunicator communicator;
    for (const std::size_t count : {5u, 1000u, 300000u}) {
        std::string first;
        for (int round = 0; round < 3; ++round) {
            std::vector<float> values;
            for (std::size_t i = 0; i < count; ++i)
                values.push_back(1.0F / static_cast<float>(i * 4 + static_cast<std::size_t>(communicator.rank()) + 3));
            std::vector<double> doubles(values.begin(), values.end());
            communicator.all_reduce_sum(BufferView::of(values)).wait();
            communicator.all_reduce_sum(doubles);
            std::string bits(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
            bits.append(reinterpret_cast<const char*>(doubles.data()), doubles.size() * sizeof(double));
            if (round == 0) first = bits;
            EXPECT_TRUE(bits == first) << "round " << round;
            for (const auto& other : communicator.all_gather_bytes(bits)) EXPECT_TRUE(other == bits);
        }
    }
}

TEST(MpiCommunicator, ErrorsSayRankHostOperationAndMpisWords) {
    MpiCommunicator communicator;
    std::string text = "x";
    try {
        communicator.broadcast(std::as_writable_bytes(std::span(text)), communicator.size());
        FAIL() << "there is no such root";
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(),
                    ::testing::AllOf(::testing::HasSubstr("rank " + std::to_string(communicator.rank())),
                                     ::testing::HasSubstr(communicator.host()), ::testing::HasSubstr("broadcast"),
                                     ::testing::HasSubstr("MPI_ERR_ROOT")));
    }
}

/// Operations of several MPI requests, of which one fails. All ranks fail alike, so that none waits for another.
class FailingMpi : public ::testing::Test {
  protected:
    void SetUp() override {
        if (communicator_.size() == 1) GTEST_SKIP() << "one rank sends no message that could fail";
    }
    ~FailingMpi() override { faults() = {}; }

    /// Starting fails on every rank, at the third message. Returns when all have cancelled the two before it: a fast
    /// rank's next messages must not meet them.
    void expect_failed_start(const std::function<Pending()>& start) {
        faults() = {.starts_until_failure = 3, .waits_until_failure = 0, .waits = 0};
        EXPECT_THROW(start(), SystemError);
        EXPECT_EQ(faults().waits, 2) << "a cancelled request must be completed";
        communicator_.barrier();
    }

    /// Every request is over, or this would meet what is left of them.
    void expect_usable() {
        std::vector<float> values(20, 1.0F);
        communicator_.all_reduce_sum(BufferView::of(values)).wait();
        EXPECT_THAT(values, ::testing::Each(static_cast<float>(communicator_.size())));
    }

    MpiCommunicator communicator_{MPI_COMM_WORLD, 7};
    /// Parts of 16: three messages of at most 7 elements to each other rank, and three from it.
    std::vector<float> values_ = std::vector<float>(static_cast<std::size_t>(16 * communicator_.size()), 1.0F);
    int messages_ = 2 * 3 * (communicator_.size() - 1);
};

TEST_F(FailingMpi, AFailedRequestIsNoReasonToLeaveTheOthersUnderWay) {
    Pending pending = communicator_.all_reduce_sum(BufferView::of(values_));
    faults() = {.starts_until_failure = 0, .waits_until_failure = 1, .waits = 0};
    EXPECT_THROW(pending.wait(), SystemError);
    EXPECT_EQ(faults().waits, messages_);
    expect_usable();
}

TEST_F(FailingMpi, WhatWasStartedBeforeAFailedStartIsCancelled) {
    expect_failed_start([&] { return communicator_.all_reduce_sum(BufferView::of(values_)); });
    expect_usable();
}

TEST_F(FailingMpi, ScratchMemoryTooIsHeldUntilMpiIsDoneWithIt) {
    const PartedView parts = PartedView::of(values_, communicator_.size());
    expect_failed_start([&] { return communicator_.reduce_scatter_sum(parts); });
    communicator_.reduce_scatter_sum(parts).wait();
    EXPECT_EQ(values_[static_cast<std::size_t>(16 * communicator_.rank())], static_cast<float>(communicator_.size()));
    expect_usable();
}

TEST_F(FailingMpi, APendingThatGoesKeepsItsErrorToItself) {
    faults() = {.starts_until_failure = 0, .waits_until_failure = 2, .waits = 0};
    { const Pending pending = communicator_.all_reduce_sum(BufferView::of(values_)); }
    EXPECT_EQ(faults().waits, messages_);
    expect_usable();
}

TEST(MpiCommunicator, DeviceMemoryIsABug) {
    MpiCommunicator communicator;
    std::vector<float> values(4);
    EXPECT_THROW(communicator.all_reduce_sum({values.data(), 4, ElementType::float32, Memory::cuda}), std::logic_error);
}

TEST(Pending, WaitsWhenItGoes) {
    MpiCommunicator communicator;
    std::vector<float> values(100000, 1.0F);
    { const Pending pending = communicator.all_reduce_sum(BufferView::of(values)); }
    EXPECT_EQ(values.front(), static_cast<float>(communicator.size()));
    EXPECT_EQ(values.back(), static_cast<float>(communicator.size()));
}

TEST(Activity, SaysWhatARankDoesAndCountsItsWaits) {
    Activity activity;
    EXPECT_EQ(activity.look().text(), "the start");
    activity.enter("update 3");
    activity.enter_part("backward");
    EXPECT_EQ(activity.look().text(), "update 3, backward");
    {
        const Activity::Waiting waiting(activity, "barrier");
        const Activity::Waiting within(activity, "all-reduce");
        EXPECT_EQ(activity.look().text(), "update 3, in barrier");
        EXPECT_EQ(activity.look().waits, 1);
    }
    EXPECT_EQ(activity.look().text(), "update 3, backward");
    activity.enter("evaluation");
    EXPECT_EQ(activity.look().text(), "evaluation");
}

/// Counts its waits.
class Counting : public Operation {
  public:
    explicit Counting(int& waits) : waits_(waits) {}
    void wait() override { ++waits_; }

  private:
    int& waits_;
};

TEST(Pending, WaitsOnceAndOnlyForWhatItHolds) {
    int a = 0;
    int b = 0;
    {
        Pending first(std::make_unique<Counting>(a), std::make_shared<Activity>(), "counting");
        Pending second(std::make_unique<Counting>(b), std::make_shared<Activity>(), "counting");
        second = std::move(first);
        EXPECT_EQ(b, 1) << "what it held before is waited for";
        EXPECT_EQ(a, 0);
        second.wait();
        second.wait();
        EXPECT_FALSE(second.active());
    }
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 1);
}

TEST(Buckets, CutPartsIntoEqualLengthsInOrder) {
    const std::vector<std::int64_t> counts{10, 0, 3, 25};
    const auto buckets = make_buckets(counts, 8);
    ASSERT_EQ(buckets.size(), 5u) << "38 elements";
    std::int64_t total = 0;
    for (const auto& bucket : buckets) {
        std::int64_t elements = 0;
        for (const auto& piece : bucket) elements += piece.count;
        total += elements;
        EXPECT_EQ(elements, total == 38 ? 6 : 8);
    }
    EXPECT_EQ(total, 38);
    ASSERT_EQ(buckets[1].size(), 3u);
    EXPECT_EQ(buckets[1][0].part, 0u);
    EXPECT_EQ(buckets[1][0].begin, 8);
    EXPECT_EQ(buckets[1][1].part, 2u);
    EXPECT_EQ(buckets[1][2].part, 3u);
    EXPECT_EQ(buckets[1][2].count, 3);
    EXPECT_EQ(buckets[2][0].begin, 3);

    std::vector<float> memory(100);
    const PartedView view = view_of(buckets[2][0], {memory.data(), 25, 30});
    EXPECT_EQ(view.data, memory.data() + 3);
    EXPECT_EQ(view.count, 8);
    EXPECT_EQ(view.stride, 30);
}

}  // namespace
}  // namespace strata::dist
