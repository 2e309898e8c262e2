#include "data/packed_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace strata::data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PackedBatch, PutsSequencesEndToEnd) {
    const std::vector<std::int32_t> a = {101, 7, 102};
    const std::vector<std::int32_t> b = {101, 8, 102, 9, 102};
    const std::vector<SequenceView> sequences = {{{a, 3}, 1.0, 5}, {{b, 3}, 2.5, 3}};

    const PackedBatch batch = pack(sequences);

    EXPECT_THAT(batch.input_ids, ElementsAre(101, 7, 102, 101, 8, 102, 9, 102));
    EXPECT_THAT(batch.token_type_ids, ElementsAre(0, 0, 0, 0, 0, 0, 1, 1));
    EXPECT_THAT(batch.position_ids, ElementsAre(0, 1, 2, 0, 1, 2, 3, 4));
    EXPECT_THAT(batch.offsets, ElementsAre(0, 3, 8));
    EXPECT_THAT(batch.labels, ElementsAre(1.0, 2.5));
    EXPECT_THAT(batch.sample_positions, ElementsAre(5, 3));
    EXPECT_EQ(batch.sequences(), 2);
    EXPECT_EQ(batch.tokens(), 8);
}

TEST(PackedBatch, MayBeEmpty) {
    const PackedBatch batch = pack({});
    EXPECT_THAT(batch.input_ids, IsEmpty());
    EXPECT_THAT(batch.offsets, ElementsAre(0));
    EXPECT_EQ(batch.sequences(), 0);
}

TEST(PackedBatch, RefusesSequencesThatCannotBe) {
    const std::vector<std::int32_t> ids = {101, 102};
    EXPECT_THROW(pack(std::vector<SequenceView>{{{ids, 3}, 0, 0}}), std::logic_error);
    EXPECT_THROW(pack(std::vector<SequenceView>{{{{}, 0}, 0, 0}}), std::logic_error);
}

}  // namespace
}  // namespace strata::data
