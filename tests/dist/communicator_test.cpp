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

/// Whole numbers, so that sums are exact in any order.
float value_of(int rank, std::int64_t i) {
    return static_cast<float>((rank + 1) * (i % 1000 + 1));
}

/// The parameter is the largest count of one MPI call: with 7 every operation is split.
class Communicators : public ::testing::TestWithParam<std::int64_t> {
  protected:
    int rank() const { return communicator_.rank(); }
    int size() const { return communicator_.size(); }

    std::vector<float> own_values(std::int64_t count) const {
        std::vector<float> values;
        for (std::int64_t i = 0; i < count; ++i) values.push_back(value_of(rank(), i));
        return values;
    }

    std::vector<float> summed_values(std::int64_t count) const {
        std::vector<float> values(static_cast<std::size_t>(count), 0.0F);
        for (int r = 0; r < size(); ++r) {
            for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] += value_of(r, i);
        }
        return values;
    }

    MpiCommunicator communicator_{MPI_COMM_WORLD, GetParam()};
};

/// A buffer of parts with gaps: the own part filled in, everything else marked.
struct Parted {
    static constexpr float untouched = -1.0F;

    Parted(std::int64_t part_count, std::int64_t part_stride, int rank, int size, int salt = 0)
        : count(part_count), stride(part_stride), values(static_cast<std::size_t>(part_stride * size), untouched) {
        for (std::int64_t i = 0; i < count; ++i)
            values[static_cast<std::size_t>(rank * stride + i)] = value(rank, i, salt);
    }
    static float value(int rank, std::int64_t i, int salt) {
        return value_of(rank, i) + static_cast<float>(100000 * salt);
    }
    PartedView view() { return {values.data(), count, stride}; }
    void expect_gathered(int size, int salt = 0) const {
        for (int rank = 0; rank < size; ++rank) {
            for (std::int64_t i = 0; i < stride; ++i) {
                const float expected = i < count ? value(rank, i, salt) : untouched;
                ASSERT_EQ(values[static_cast<std::size_t>(rank * stride + i)], expected)
                    << "part " << rank << " element " << i;
            }
        }
    }

    std::int64_t count;
    std::int64_t stride;
    std::vector<float> values;
};

TEST_P(Communicators, AllReduceSumsInPlace) {
    for (const std::int64_t count : {0, 1, 6, 7, 8, 13, 1021}) {
        auto values = own_values(count);
        communicator_.all_reduce_sum(BufferView::of(values)).wait();
        EXPECT_EQ(values, summed_values(count)) << count;
    }
}

TEST_P(Communicators, SeveralReductionsAreUnderWayTogether) {
    std::vector<std::vector<float>> buffers;
    std::vector<Pending> under_way;
    for (std::int64_t i = 0; i < 8; ++i) buffers.push_back(own_values(97 + i));
    for (auto& buffer : buffers) under_way.push_back(communicator_.all_reduce_sum(BufferView::of(buffer)));
    for (auto& pending : under_way) EXPECT_TRUE(pending.active());
    for (auto pending = under_way.rbegin(); pending != under_way.rend(); ++pending) pending->wait();
    for (std::int64_t i = 0; i < 8; ++i) EXPECT_EQ(buffers[static_cast<std::size_t>(i)], summed_values(97 + i));
}

TEST_P(Communicators, DoublesReduceToo) {
    std::vector<double> large(100, rank() + 0.5);
    communicator_.all_reduce_sum(BufferView::of(std::span(large))).wait();
    std::vector<double> small(100, rank() + 0.5);
    communicator_.all_reduce_sum(small);
    const double expected = size() * (size() - 1) / 2.0 + size() * 0.5;
    EXPECT_THAT(large, ::testing::Each(expected));
    EXPECT_THAT(small, ::testing::Each(expected));
}

TEST_P(Communicators, AllGatherFillsPartsAndLeavesGaps) {
    for (const std::int64_t count : {0, 1, 7, 15, 512}) {
        for (const std::int64_t gap : {0, 1, 64}) {
            Parted parted(count, count + gap, rank(), size());
            communicator_.all_gather(parted.view()).wait();
            parted.expect_gathered(size());
        }
    }
}

TEST_P(Communicators, SeveralPiecesAreOneGather) {
    std::vector<Parted> pieces;
    int salt = 0;
    for (const std::int64_t count : {3, 0, 64, 1, 200}) {
        pieces.emplace_back(count, count + salt, rank(), size(), salt);
        ++salt;
    }
    std::vector<PartedView> views;
    for (auto& piece : pieces) views.push_back(piece.view());
    const auto before = communicator_.traffic();
    communicator_.all_gather(views).wait();
    for (int i = 0; i < salt; ++i) pieces[static_cast<std::size_t>(i)].expect_gathered(size(), i);
    EXPECT_EQ((communicator_.traffic() - before).calls(), 1);
}

TEST_P(Communicators, SixteenBitFloatsGatherAsTheyAre) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(10 * size()), 0);
    for (std::size_t i = 0; i < 10; ++i)
        values[static_cast<std::size_t>(rank()) * 10 + i] = static_cast<std::uint16_t>(0x7f80 + rank());
    communicator_.all_gather({values.data(), 10, 10, ElementType::bfloat16, Memory::host}).wait();
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], 0x7f80 + i / 10);
}

TEST_P(Communicators, ReduceScatterLeavesTheSumInTheOwnPart) {
    for (const std::int64_t part : {0, 1, 7, 9, 300}) {
        auto values = own_values(part * size());
        const auto expected = summed_values(part * size());
        communicator_.reduce_scatter_sum(PartedView::of(values, size())).wait();
        const auto begin = rank() * part;
        for (std::int64_t i = begin; i < begin + part; ++i) {
            ASSERT_EQ(values[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)]) << part << " " << i;
        }
    }
}

/// What rank r brings: values whose sum, were it rounded after each addition, would be another in 16 bits.
std::uint16_t sixteen_bit_value(int r, std::int64_t i, optim::ComputeType type) {
    return optim::narrow(i % 2 == 0 ? (r == 0 ? 1.0F : 0x1p-9F) : 0.3F + static_cast<float>(r * 7 + i % 11), type);
}

float sixteen_bit_sum(float start, int size, std::int64_t i, optim::ComputeType type) {
    for (int r = 0; r < size; ++r) start += optim::widen(sixteen_bit_value(r, i, type), type);
    return start;
}

TEST_P(Communicators, SixteenBitFloatsAddUpInFp32AndAreRoundedOnce) {
    constexpr std::int64_t part = 3001;
    for (const auto& [type, element] : {std::pair{optim::ComputeType::bf16, ElementType::bfloat16},
                                        {optim::ComputeType::fp16, ElementType::float16}}) {
        std::vector<std::uint16_t> own(static_cast<std::size_t>(part * size()));
        for (std::size_t i = 0; i < own.size(); ++i) {
            own[i] = sixteen_bit_value(rank(), static_cast<std::int64_t>(i), type);
        }
        auto all = own;
        auto scattered = own;
        auto added = own;
        std::vector<float> sums(part, 100.0F);
        communicator_.all_reduce_sum({all.data(), part * size(), element, Memory::host}).wait();
        communicator_.reduce_scatter_sum({scattered.data(), part, part, element, Memory::host}).wait();
        const SummedParts piece{{added.data(), part, part, element, Memory::host}, sums.data()};
        const auto before = communicator_.traffic();
        communicator_.reduce_scatter_sum(std::span(&piece, 1)).wait();
        EXPECT_EQ((communicator_.traffic() - before).reduce_scatter.bytes, 2 * part * (size() - 1));
        for (std::int64_t i = 0; i < part * size(); ++i) {
            const auto at = static_cast<std::size_t>(i);
            const std::uint16_t expected = optim::narrow(sixteen_bit_sum(0.0F, size(), i, type), type);
            ASSERT_EQ(all[at], expected) << i;
            if (i / part != rank()) continue;
            ASSERT_EQ(scattered[at], expected) << i;
            ASSERT_EQ(sums[static_cast<std::size_t>(i % part)], sixteen_bit_sum(100.0F, size(), i, type)) << i;
        }
        EXPECT_TRUE(added == own) << "what is added elsewhere stays";
    }
}

/// Each element's expected value, by the order that is promised.
float in_the_order_of_ranks(float start, int size, std::int64_t index) {
    float sum = start;
    for (int from = 0; from < size; ++from) sum += 0.1F * static_cast<float>(from + 1) + static_cast<float>(index) / 3;
    return sum;
}

TEST_P(Communicators, SeveralPiecesAddUpInTheOrderOfRanksInOneReduceScatter) {
    constexpr std::int64_t into_count = 5;
    const std::vector<std::int64_t> counts{into_count, 0, 5000, 1};
    std::vector<std::vector<float>> memory;
    std::vector<float> sums(into_count, 1e6F);
    std::vector<SummedParts> pieces;
    for (const std::int64_t count : counts) {
        const std::int64_t stride = count + 2;
        auto& values = memory.emplace_back(static_cast<std::size_t>(stride * size()), -7.0F);
        for (int part = 0; part < size(); ++part) {
            for (std::int64_t i = 0; i < count; ++i) {
                values[static_cast<std::size_t>(part * stride + i)] =
                    0.1F * static_cast<float>(rank() + 1) + static_cast<float>(i) / 3;
            }
        }
        pieces.push_back({{values.data(), count, stride}, count == into_count ? sums.data() : nullptr});
    }
    const auto before = communicator_.traffic();
    communicator_.reduce_scatter_sum(pieces).wait();
    EXPECT_EQ((communicator_.traffic() - before).calls(), 1);
    for (std::int64_t i = 0; i < into_count; ++i) {
        EXPECT_EQ(sums[static_cast<std::size_t>(i)], in_the_order_of_ranks(1e6F, size(), i));
    }
    for (const std::size_t piece : {2u, 3u}) {
        const std::int64_t stride = counts[piece] + 2;
        for (std::int64_t i = 0; i < counts[piece]; ++i) {
            ASSERT_EQ(memory[piece][static_cast<std::size_t>(rank() * stride + i)],
                      in_the_order_of_ranks(0.0F, size(), i));
        }
        EXPECT_EQ(memory[piece].back(), -7.0F) << "gaps stay";
    }
}

TEST_P(Communicators, Maximum) {
    EXPECT_EQ(communicator_.all_reduce_max(rank() == size() - 1 ? std::int64_t{1} << 40 : -rank()),
              std::int64_t{1} << 40);
    EXPECT_EQ(communicator_.all_reduce_max(-5 - rank()), -5);
}

TEST_P(Communicators, BroadcastFromAnyRank) {
    for (int root = 0; root < size(); ++root) {
        std::string text = rank() == root ? "forty characters, so that it is split up" : std::string(40, '?');
        communicator_.broadcast(std::as_writable_bytes(std::span(text)), root);
        EXPECT_EQ(text, "forty characters, so that it is split up");
    }
}

TEST_P(Communicators, StringsOfAnyLengthAndContent) {
    const auto text_of = [](int of) {
        return std::string(static_cast<std::size_t>(of * 5), 'x') + (of == 1 ? std::string(1, '\0') : "");
    };
    const auto all = communicator_.all_gather_bytes(text_of(rank()));
    ASSERT_EQ(all.size(), static_cast<std::size_t>(size()));
    for (int r = 0; r < size(); ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], text_of(r));
}

TEST_P(Communicators, ADuplicateIsApart) {
    const auto other = communicator_.duplicate();
    auto a = own_values(50);
    auto b = own_values(50);
    // Crossed on purpose: on one communicator different orders on different ranks would mix up the buffers.
    std::optional<Pending> first;
    std::optional<Pending> second;
    const auto start_a = [&] { first = communicator_.all_reduce_sum(BufferView::of(a)); };
    const auto start_b = [&] { second = other->all_reduce_sum(BufferView::of(std::span(b).first(40))); };
    if (rank() % 2 == 0) {
        start_a();
        start_b();
    } else {
        start_b();
        start_a();
    }
    first->wait();
    second->wait();
    EXPECT_EQ(a, summed_values(50));
    EXPECT_EQ(std::vector<float>(b.begin(), b.begin() + 40), summed_values(40));
    EXPECT_EQ(other->traffic().calls(), 1);
    EXPECT_EQ(communicator_.traffic().calls(), 1);
}

INSTANTIATE_TEST_SUITE_P(MaxCount, Communicators, ::testing::Values(7, INT_MAX));

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
