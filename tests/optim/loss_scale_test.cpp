#include "optim/loss_scale.h"

#include <gtest/gtest.h>

namespace strata::optim {
namespace {

TEST(LossScale, GrowsAfterAsManyGoodStepsInARow) {
    LossScale scale;
    EXPECT_EQ(scale.scale, 65536.0F);
    for (int step = 0; step < 1999; ++step) scale.step(true);
    EXPECT_EQ(scale.scale, 65536.0F);
    EXPECT_EQ(scale.good_steps, 1999);
    scale.step(true);
    EXPECT_EQ(scale.scale, 131072.0F);
    EXPECT_EQ(scale.good_steps, 0);
}

TEST(LossScale, HalvesAndCountsAnewAfterAStepThatIsNotFinite) {
    LossScale scale;
    for (int step = 0; step < 1999; ++step) scale.step(true);
    scale.step(false);
    EXPECT_EQ(scale.scale, 32768.0F);
    for (int step = 0; step < 1999; ++step) scale.step(true);
    EXPECT_EQ(scale.scale, 32768.0F);
    scale.step(true);
    EXPECT_EQ(scale.scale, 65536.0F);
}

TEST(LossScale, StaysFinite) {
    LossScale scale{0x1p127F, LossScale::growth_interval - 1};
    scale.step(true);
    EXPECT_EQ(scale.scale, 0x1p127F);
    EXPECT_EQ(scale.good_steps, 0);
}

}  // namespace
}  // namespace strata::optim
