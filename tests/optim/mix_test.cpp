// Keys and hashes are part of what a seed means: the same in every version, or a run that goes on would be another run.
#include "optim/mix.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace strata::optim {
namespace {

/// The first two are splitmix64's and FNV-1a's own test vectors; the rest was computed apart from this code.
TEST(Mix, NumbersAreWhatTheyWere) {
    EXPECT_EQ(mix64(0), 0xE220A8397B1DCDAFU);
    EXPECT_EQ(name_key("foobar"), 0x85944171F73967E8U);
    EXPECT_EQ(seeded_key(42, 7), 0x16062D6C1339E500U);
    EXPECT_EQ(seeded_key(1, name_key("classifier.weight")), 0x910B9C2386B4D420U);
    EXPECT_EQ(element_hash(seeded_key(42, 7), 3U), 0xA18DD59BU);
    EXPECT_EQ(element_hash(seeded_key(42, 7), 0xFFFFFFFFU), 0x9BA48156U);
}

}  // namespace
}  // namespace strata::optim
