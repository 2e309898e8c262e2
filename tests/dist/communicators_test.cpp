// What every communicator promises (dist/communicator.h), whatever it is built on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>
#include <optional>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "backends.h"

namespace strata::dist::testing {
namespace {

constexpr ElementType fp32 = ElementType::float32;

/// Whole numbers, so that sums are exact in any order.
float value_of(int rank, std::int64_t i) {
    return static_cast<float>((rank + 1) * (i % 1000 + 1));
}

class Communicators : public ::testing::TestWithParam<BackendCase> {
  protected:
    void SetUp() override {
        if (!GetParam().missing.empty()) GTEST_SKIP() << GetParam().missing;
        backend_ = GetParam().make();
    }
    Communicator& communicator() { return backend_->communicator(); }
    int rank() { return communicator().rank(); }
    int size() { return communicator().size(); }

    Values<float> values(std::vector<float> host) { return {*backend_, std::move(host)}; }

    std::vector<float> own_values(std::int64_t count) {
        std::vector<float> own;
        for (std::int64_t i = 0; i < count; ++i) own.push_back(value_of(rank(), i));
        return own;
    }

    std::vector<float> summed_values(std::int64_t count) {
        std::vector<float> sums(static_cast<std::size_t>(count), 0.0F);
        for (int r = 0; r < size(); ++r) {
            for (std::int64_t i = 0; i < count; ++i) sums[static_cast<std::size_t>(i)] += value_of(r, i);
        }
        return sums;
    }

    /// An all-reduce and two reduce-scatters of 16-bit floats.
    template <typename Float>
    void expect_short_sums(ElementType type);
    void expect_sums_of_pieces();

    std::unique_ptr<Backend> backend_;
};

/// A buffer of parts with gaps: the own part filled in, everything else marked.
struct Parted {
    static constexpr float untouched = -1.0F;

    Parted(std::int64_t part_count, std::int64_t part_stride, Backend& backend, int part_salt = 0)
        : count(part_count),
          stride(part_stride),
          salt(part_salt),
          memory(backend, filled(backend.communicator().rank(), backend.communicator().size())) {}
    std::vector<float> filled(int rank, int size) const {
        std::vector<float> values(static_cast<std::size_t>(stride * size), untouched);
        for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(rank * stride + i)] = value(rank, i);
        return values;
    }
    float value(int rank, std::int64_t i) const { return value_of(rank, i) + static_cast<float>(100000 * salt); }
    PartedView view() const { return memory.parts(count, stride, fp32); }
    void expect_gathered(int size) {
        const std::vector<float>& values = memory.values();
        for (int rank = 0; rank < size; ++rank) {
            for (std::int64_t i = 0; i < stride; ++i) {
                const float expected = i < count ? value(rank, i) : untouched;
                ASSERT_EQ(values[static_cast<std::size_t>(rank * stride + i)], expected)
                    << "part " << rank << " element " << i;
            }
        }
    }

    std::int64_t count;
    std::int64_t stride;
    int salt;
    Values<float> memory;
};

TEST_P(Communicators, AllReduceSumsInPlace) {
    for (const std::int64_t count : {0, 1, 6, 7, 8, 13, 1021}) {
        auto buffer = values(own_values(count));
        communicator().all_reduce_sum(buffer.view(fp32)).wait();
        EXPECT_EQ(buffer.values(), summed_values(count)) << count;
    }
}

TEST_P(Communicators, SeveralBuffersAreOneAllReduce) {
    std::vector<Values<float>> buffers;
    std::vector<BufferView> views;
    std::int64_t elements = 0;
    for (const std::int64_t count : {5, 0, 1021, 1, 64}) {
        buffers.push_back(values(own_values(count)));
        views.push_back(buffers.back().view(fp32));
        elements += count;
    }
    const auto before = communicator().traffic();
    communicator().all_reduce_sum(views).wait();
    const TrafficCounters traffic = communicator().traffic() - before;
    EXPECT_EQ(traffic.calls(), 1);
    EXPECT_EQ(traffic.all_reduce.bytes, 2 * elements * 4 * (size() - 1) / size());
    for (auto& buffer : buffers) EXPECT_EQ(buffer.values(), summed_values(buffer.size()));
}

TEST_P(Communicators, SeveralReductionsAreUnderWayTogether) {
    std::vector<Values<float>> buffers;
    std::vector<Pending> under_way;
    for (std::int64_t i = 0; i < 8; ++i) buffers.push_back(values(own_values(97 + i)));
    for (auto& buffer : buffers) under_way.push_back(communicator().all_reduce_sum(buffer.view(fp32)));
    for (auto& pending : under_way) EXPECT_TRUE(pending.active());
    for (auto pending = under_way.rbegin(); pending != under_way.rend(); ++pending) pending->wait();
    for (std::int64_t i = 0; i < 8; ++i)
        EXPECT_EQ(buffers[static_cast<std::size_t>(i)].values(), summed_values(97 + i));
}

TEST_P(Communicators, DoublesReduceToo) {
    Values<double> large(*backend_, std::vector<double>(100, rank() + 0.5));
    communicator().all_reduce_sum(large.view(ElementType::float64)).wait();
    std::vector<double> small(100, rank() + 0.5);
    communicator().all_reduce_sum(small);
    const double expected = size() * (size() - 1) / 2.0 + size() * 0.5;
    EXPECT_THAT(large.values(), ::testing::Each(expected));
    EXPECT_THAT(small, ::testing::Each(expected));
}

TEST_P(Communicators, AllGatherFillsPartsAndLeavesGaps) {
    for (const std::int64_t count : {0, 1, 7, 15, 512}) {
        for (const std::int64_t gap : {0, 1, 64}) {
            Parted parted(count, count + gap, *backend_);
            communicator().all_gather(parted.view()).wait();
            parted.expect_gathered(size());
        }
    }
}

TEST_P(Communicators, SeveralPiecesAreOneGather) {
    std::vector<Parted> pieces;
    int salt = 0;
    std::vector<std::int64_t> counts{3, 0, 64, 70'000, 1, 200, 66'000};  // small ones packed, large ones as they lie
    counts.resize(150, 2);                                               // more than one table of a kernel holds
    for (const std::int64_t count : counts) {
        pieces.emplace_back(count, count + salt % 7, *backend_, salt);
        ++salt;
    }
    std::vector<PartedView> views;
    for (auto& piece : pieces) views.push_back(piece.view());
    const auto before = communicator().traffic();
    communicator().all_gather(views).wait();
    for (Parted& piece : pieces) piece.expect_gathered(size());
    EXPECT_EQ((communicator().traffic() - before).calls(), 1);
}

TEST_P(Communicators, SixteenBitFloatsGatherAsTheyAre) {
    std::vector<std::uint16_t> own(static_cast<std::size_t>(10 * size()), 0);
    for (std::size_t i = 0; i < 10; ++i)
        own[static_cast<std::size_t>(rank()) * 10 + i] = static_cast<std::uint16_t>(0x7f80 + rank());
    Values<std::uint16_t> buffer(*backend_, own);
    communicator().all_gather(buffer.parts(10, 10, ElementType::bfloat16)).wait();
    const auto& gathered = buffer.values();
    for (std::size_t i = 0; i < gathered.size(); ++i) EXPECT_EQ(gathered[i], 0x7f80 + i / 10);
}

TEST_P(Communicators, ReduceScatterLeavesTheSumInTheOwnPart) {
    for (const std::int64_t part : {0, 1, 7, 9, 300}) {
        auto buffer = values(own_values(part * size()));
        const auto expected = summed_values(part * size());
        communicator().reduce_scatter_sum(buffer.parts(part, part, fp32)).wait();
        const auto& sums = buffer.values();
        const auto begin = rank() * part;
        for (std::int64_t i = begin; i < begin + part; ++i) {
            ASSERT_EQ(sums[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)]) << part << " " << i;
        }
    }
}

/// Each element's expected value, by the order that is promised.
float in_the_order_of_ranks(float start, int size, std::int64_t index) {
    float sum = start;
    for (int from = 0; from < size; ++from) sum += 0.1F * static_cast<float>(from + 1) + static_cast<float>(index) / 3;
    return sum;
}

/// Of this rank, for sums that threads share.
class Threads {
  public:
    explicit Threads(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
    ~Threads() { omp_set_num_threads(before_); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

  private:
    int before_;
};

TEST_P(Communicators, SeveralPiecesAddUpInTheOrderOfRanksInOneReduceScatter) {
    for (const int threads : {1, 3}) {
        const Threads all(threads);
        expect_sums_of_pieces();
    }
}

void Communicators::expect_sums_of_pieces() {
    constexpr std::int64_t into_count = 5, replaced_count = 3;
    const std::vector<std::int64_t> counts{into_count, replaced_count, 0, 5000, 70'000, 1, 9000, 66'000, 2};
    std::vector<Values<float>> memory;
    auto sums = values(std::vector<float>(into_count, 1e6F));
    auto replaced = values(std::vector<float>(replaced_count, 1e6F));
    std::vector<SummedParts> pieces;
    for (const std::int64_t count : counts) {
        const std::int64_t stride = count + 2;
        std::vector<float> own(static_cast<std::size_t>(stride * size()), -7.0F);
        for (int part = 0; part < size(); ++part) {
            for (std::int64_t i = 0; i < count; ++i) {
                own[static_cast<std::size_t>(part * stride + i)] =
                    0.1F * static_cast<float>(rank() + 1) + static_cast<float>(i) / 3;
            }
        }
        memory.push_back(values(own));
        pieces.push_back({memory.back().parts(count, stride, fp32)});
    }
    pieces[0].into = sums.data();
    pieces[1].into = replaced.data();
    pieces[1].adds = false;
    const auto before = communicator().traffic();
    communicator().reduce_scatter_sum(pieces).wait();
    EXPECT_EQ((communicator().traffic() - before).calls(), 1);
    // What keeps no order still adds the same numbers.
    const auto expect = [&](float sum, float expected) {
        EXPECT_NEAR(sum, expected, GetParam().ordered ? 0.0 : 1e-6 * (static_cast<double>(expected) + 1));
    };
    for (std::int64_t i = 0; i < into_count; ++i)
        expect(sums.values()[static_cast<std::size_t>(i)], in_the_order_of_ranks(1e6F, size(), i));
    for (std::int64_t i = 0; i < replaced_count; ++i)
        expect(replaced.values()[static_cast<std::size_t>(i)], in_the_order_of_ranks(0.0F, size(), i));
    for (std::size_t piece = 3; piece < counts.size(); ++piece) {
        const std::int64_t stride = counts[piece] + 2;
        const auto& values = memory[piece].values();
        for (std::int64_t i = 0; i < counts[piece]; ++i)
            expect(values[static_cast<std::size_t>(rank() * stride + i)], in_the_order_of_ranks(0.0F, size(), i));
        EXPECT_EQ(values.back(), -7.0F) << "gaps stay";
    }
}

/// What rank r brings: values whose sum, were it rounded after each addition, would be another in 16 bits.
template <typename Float>
Float short_value(int r, std::int64_t i) {
    return static_cast<Float>(i % 2 == 0 ? (r == 0 ? 1.0F : 0x1p-9F) : 0.3F + static_cast<float>(r * 7 + i % 11));
}

template <typename Float>
float short_sum(float start, int size, std::int64_t i) {
    for (int r = 0; r < size; ++r) start += static_cast<float>(short_value<Float>(r, i));
    return start;
}

template <typename Float>
void Communicators::expect_short_sums(ElementType type) {
    constexpr std::int64_t part = 20'301;
    std::vector<Float> own;
    for (std::int64_t i = 0; i < part * size(); ++i) own.push_back(short_value<Float>(rank(), i));
    Values<Float> all(*backend_, own);
    Values<Float> scattered(*backend_, own);
    Values<Float> added(*backend_, own);
    auto sums = values(std::vector<float>(part, 100.0F));
    communicator().all_reduce_sum(all.view(type)).wait();
    communicator().reduce_scatter_sum(scattered.parts(part, part, type)).wait();
    SummedParts piece{added.parts(part, part, type), sums.data()};
    communicator().reduce_scatter_sum(std::span(&piece, 1)).wait();
    auto replaced = values(std::vector<float>(part, 100.0F));
    piece.into = replaced.data();
    piece.adds = false;
    communicator().reduce_scatter_sum(std::span(&piece, 1)).wait();
    const auto expect = [&](float sum, float expected) {
        // What keeps no order rounds on its way, too.
        ASSERT_NEAR(sum, expected, GetParam().ordered ? 0.0 : 0.02 * static_cast<double>(expected));
    };
    for (std::int64_t i = 0; i < part * size(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const auto rounded = static_cast<float>(static_cast<Float>(short_sum<Float>(0.0F, size(), i)));
        expect(static_cast<float>(all.values()[at]), rounded);
        if (i / part != rank()) continue;
        expect(static_cast<float>(scattered.values()[at]), rounded);
        expect(sums.values()[static_cast<std::size_t>(i % part)], short_sum<Float>(100.0F, size(), i));
        expect(replaced.values()[static_cast<std::size_t>(i % part)], short_sum<Float>(0.0F, size(), i));
    }
}

TEST_P(Communicators, SixteenBitFloatsAddUpInFp32AndAreRoundedOnce) {
    for (const int threads : {1, 3}) {
        const Threads all(threads);
        expect_short_sums<c10::BFloat16>(ElementType::bfloat16);
        expect_short_sums<c10::Half>(ElementType::float16);
    }
}

TEST_P(Communicators, Maximum) {
    EXPECT_EQ(communicator().all_reduce_max(rank() == size() - 1 ? std::int64_t{1} << 40 : -rank()),
              std::int64_t{1} << 40);
    EXPECT_EQ(communicator().all_reduce_max(-5 - rank()), -5);
}

TEST_P(Communicators, BroadcastFromAnyRank) {
    for (int root = 0; root < size(); ++root) {
        std::string text = rank() == root ? "forty characters, so that it is split up" : std::string(40, '?');
        communicator().broadcast(std::as_writable_bytes(std::span(text)), root);
        EXPECT_EQ(text, "forty characters, so that it is split up");
    }
}

TEST_P(Communicators, StringsOfAnyLengthAndContent) {
    const auto text_of = [](int of) {
        return std::string(static_cast<std::size_t>(of * 5), 'x') + (of == 1 ? std::string(1, '\0') : "");
    };
    const auto all = communicator().all_gather_bytes(text_of(rank()));
    ASSERT_EQ(all.size(), static_cast<std::size_t>(size()));
    for (int r = 0; r < size(); ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], text_of(r));
}

TEST_P(Communicators, ADuplicateIsApart) {
    const auto other = communicator().duplicate();
    const auto before = communicator().traffic();
    auto a = values(own_values(50));
    auto b = values(own_values(50));
    // Crossed on purpose: on one communicator different orders on different ranks would mix up the buffers.
    std::optional<Pending> first;
    std::optional<Pending> second;
    const auto start_a = [&] { first = communicator().all_reduce_sum(a.view(fp32)); };
    const auto start_b = [&] { second = other->all_reduce_sum({b.data(), 40, fp32, backend_->memory()}); };
    if (rank() % 2 == 0) {
        start_a();
        start_b();
    } else {
        start_b();
        start_a();
    }
    first->wait();
    second->wait();
    EXPECT_EQ(a.values(), summed_values(50));
    const auto& sums = b.values();
    EXPECT_EQ(std::vector<float>(sums.begin(), sums.begin() + 40), summed_values(40));
    EXPECT_EQ(other->traffic().calls(), 1);
    EXPECT_EQ((communicator().traffic() - before).calls(), 1);
}

TEST_P(Communicators, RanksThatSplitAreApart) {
    const int color = rank() % 2;
    const int evens = (size() + 1) / 2;
    const auto part = communicator().split(color);
    ASSERT_EQ(part->size(), color == 0 ? evens : size() - evens);
    EXPECT_EQ(part->rank(), rank() / 2);
    EXPECT_EQ(&part->activity(), &communicator().activity());
    auto of_part = values(own_values(300));
    auto of_all = values(own_values(300));
    Pending first = part->all_reduce_sum(of_part.view(fp32));
    Pending second = communicator().all_reduce_sum(of_all.view(fp32));
    first.wait();
    second.wait();
    std::vector<float> sums(300, 0.0F);
    for (int r = color; r < size(); r += 2) {
        for (std::int64_t i = 0; i < 300; ++i) sums[static_cast<std::size_t>(i)] += value_of(r, i);
    }
    EXPECT_EQ(of_part.values(), sums);
    EXPECT_EQ(of_all.values(), summed_values(300));
    EXPECT_EQ(part->all_reduce_max(rank()), (size() - 1 - color) / 2 * 2 + color);
}

TEST_P(Communicators, CountsBytesByTheClosedFormulas) {
    const std::int64_t n = size();
    const std::int64_t elements = 1200;  // whole parts for 1 to 4 ranks
    auto buffer = values(std::vector<float>(static_cast<std::size_t>(elements)));
    std::vector<float> small(static_cast<std::size_t>(elements));
    const auto before = communicator().traffic();
    communicator().all_reduce_sum(buffer.view(fp32)).wait();
    communicator().all_gather(buffer.parts(elements / n, elements / n, fp32)).wait();
    communicator().reduce_scatter_sum(buffer.parts(elements / n, elements / n, fp32)).wait();
    communicator().broadcast(std::as_writable_bytes(std::span(small)));
    const std::int64_t bytes = elements * 4;
    const TrafficCounters traffic = communicator().traffic() - before;
    EXPECT_EQ(traffic.all_reduce.bytes, 2 * bytes * (n - 1) / n);
    EXPECT_EQ(traffic.all_gather.bytes, bytes * (n - 1) / n);
    EXPECT_EQ(traffic.reduce_scatter.bytes, bytes * (n - 1) / n);
    EXPECT_EQ(traffic.broadcast.bytes, n > 1 ? bytes : 0);
    EXPECT_EQ(traffic.calls(), 4);
}

INSTANTIATE_TEST_SUITE_P(All, Communicators, ::testing::ValuesIn(backends()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace strata::dist::testing
