// The bodies of the kernels that pack pieces and add up ranks' terms, walked over whole grids on the host.
#include "dist/parts_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace strata::dist {
namespace {

constexpr int ranks = 3;
constexpr int own = 1;
constexpr std::int64_t part_stride = 44;  // of a packed part of 41 elements

/// Three pieces of 1, 33 and 7 elements a rank, with gaps between their parts.
class Parts : public ::testing::Test {
  protected:
    Parts() {
        table_.count = 3;
        table_.own = own;
        table_.part_stride = part_stride;
        for (std::size_t p = 0; p < 3; ++p) {
            pieces_[p].assign(static_cast<std::size_t>(strides_[p] * ranks), -1.0F);
            table_.pieces[p] = {reinterpret_cast<std::byte*>(pieces_[p].data()), nullptr, strides_[p], table_.end};
            table_.end += counts_[p];
        }
    }

    static float value(int rank, std::int64_t packed) { return static_cast<float>(1000 * rank + packed); }

    /// In the pieces, `value` of each rank's elements that `wanted` names.
    template <typename Wanted>
    void fill(Wanted wanted) {
        for (int rank = 0; rank < ranks; ++rank) {
            if (wanted(rank)) {
                for (std::int64_t i = 0; i < table_.end; ++i) at(rank, i) = value(rank, i);
            }
        }
    }

    float& at(int rank, std::int64_t packed) {
        std::size_t p = 0;
        while (packed >= counts_[p]) packed -= counts_[p++];
        return pieces_[p][static_cast<std::size_t>(rank * strides_[p] + packed)];
    }

    /// Every block and thread of a grid; few threads, so that they stride.
    void copy(PartsCopy how, std::vector<float>& packed) const {
        for (int rank = 0; rank < ranks; ++rank) {
            for (std::int64_t thread = 0; thread < 5; ++thread)
                copy_body<std::uint32_t>(table_, how, reinterpret_cast<std::byte*>(packed.data()), rank, thread, 5);
        }
    }
    void sum(const std::vector<float>& packed, int count, int own_term) const {
        for (std::int64_t thread = 0; thread < 7; ++thread)
            sum_body<float, float>(table_, {reinterpret_cast<const std::byte*>(packed.data()), count, own_term}, thread,
                                   7);
    }

    const std::int64_t counts_[3] = {1, 33, 7};
    const std::int64_t strides_[3] = {4, 33, 9};
    std::vector<float> pieces_[3];
    PieceTable table_;
};

TEST_F(Parts, PackAllAndOwn) {
    fill([](int) { return true; });
    std::vector<float> all(part_stride * ranks, -2.0F);
    std::vector<float> alone = all;
    copy(PartsCopy::all_into_packed, all);
    copy(PartsCopy::own_into_packed, alone);
    for (int rank = 0; rank < ranks; ++rank) {
        for (std::int64_t i = 0; i < part_stride; ++i) {
            const auto place = static_cast<std::size_t>(rank * part_stride + i);
            EXPECT_EQ(all[place], i < table_.end ? value(rank, i) : -2.0F);
            EXPECT_EQ(alone[place], rank == own && i < table_.end ? value(rank, i) : -2.0F);
        }
    }
}

TEST_F(Parts, UnpackTheOthers) {
    std::vector<float> packed(part_stride * ranks, -2.0F);
    fill([](int) { return true; });
    copy(PartsCopy::all_into_packed, packed);
    for (auto& piece : pieces_) std::fill(piece.begin(), piece.end(), -1.0F);
    copy(PartsCopy::others_from_packed, packed);
    for (int rank = 0; rank < ranks; ++rank) {
        for (std::int64_t i = 0; i < table_.end; ++i) EXPECT_EQ(at(rank, i), rank == own ? -1.0F : value(rank, i));
    }
    EXPECT_EQ(pieces_[0][1], -1.0F) << "gaps stay";
    EXPECT_EQ(pieces_[2].back(), -1.0F);
}

TEST_F(Parts, AddUpInTheOrderOfRanksAfterWhatWasThereOrInItsPlace) {
    fill([](int rank) { return rank == own; });
    std::vector<float> received(part_stride * ranks, -2.0F);
    for (const int rank : {0, 2}) {
        for (std::int64_t i = 0; i < table_.end; ++i)
            received[static_cast<std::size_t>(rank * part_stride + i)] = 0.1F * static_cast<float>(i + rank);
    }
    // Of the second piece after what `into` holds, of the third in place of it.
    std::vector<float> into(40, 1e6F);
    table_.pieces[1].into = reinterpret_cast<std::byte*>(into.data());
    table_.pieces[2].into = reinterpret_cast<std::byte*>(into.data() + 33);
    table_.pieces[2].adds = false;
    sum(received, ranks, own);
    for (std::int64_t i = 0; i < table_.end; ++i) {
        const bool goes = i >= 1, adds = goes && i < 34;
        float expected = adds ? 1e6F + 0.1F * static_cast<float>(i) : 0.1F * static_cast<float>(i);
        expected += value(own, i);
        expected += 0.1F * static_cast<float>(i + 2);
        EXPECT_EQ(goes ? into[static_cast<std::size_t>(i - 1)] : at(own, i), expected) << i;
        if (goes) {
            EXPECT_EQ(at(own, i), value(own, i)) << "the own part stays where its sum goes elsewhere";
        }
    }
}

TEST_F(Parts, ASumThatIsMadeIsMoved) {
    std::vector<float> made(part_stride);
    for (std::int64_t i = 0; i < table_.end; ++i) made[static_cast<std::size_t>(i)] = value(7, i);
    sum(made, 1, -1);
    for (std::int64_t i = 0; i < table_.end; ++i) EXPECT_EQ(at(own, i), value(7, i));
}

}  // namespace
}  // namespace strata::dist
