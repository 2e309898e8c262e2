// Scales, colours and lines of drawings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "optim/svg_ink.h"
#include "optim/svg_scale.h"

namespace strata::optim::svg {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

TEST(SvgScale, PlacesAndTicks) {
    const Scale linear = Scale::linear(-1, 3);
    EXPECT_DOUBLE_EQ(linear.place(0), 0.25);
    EXPECT_THAT(linear.ticks(5), Pointwise(::testing::DoubleEq(), {-1.0, 0.0, 1.0, 2.0, 3.0}));
    EXPECT_FALSE(std::signbit(Scale::linear(0, 1).ticks(5).front())) << "written -0";
    const Scale decades = Scale::logarithmic(1e-6, 1e-3);
    EXPECT_NEAR(decades.place(1e-5), 1.0 / 3, 1e-12);
    EXPECT_DOUBLE_EQ(decades.place(0), 0.0);
    EXPECT_EQ(decades.ticks(5).size(), 4U);
    EXPECT_THAT(Scale::logarithmic(0.4, 6).ticks(5), Pointwise(DoubleNear(1e-12), {0.5, 1.0, 2.0, 5.0}));
    EXPECT_EQ(Scale::logarithmic(0.01, 4).ticks(5).size(), 6U);
    EXPECT_LE(Scale::logarithmic(1e-30, 1).ticks(5).size(), 9U);
}

TEST(SvgInk, EscapesWhatMarkupWouldRead) {
    EXPECT_EQ(escaped("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;'");
}

/// Relative luminance of "#rrggbb" (WCAG 2.2).
double luminance(const std::string& colour) {
    const auto channel = [&](std::size_t at) {
        const double value = static_cast<double>(std::strtol(colour.substr(at, 2).c_str(), nullptr, 16)) / 255;
        return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
    };
    return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

double contrast(double a, double b) {
    return (std::max(a, b) + 0.05) / (std::min(a, b) + 0.05);
}

TEST(SvgInk, GroupsStandOutFromThePaperAndGetLighterTowardsTheHead) {
    for (const Paper paper : {Paper::light, Paper::dark}) {
        const double ground = luminance(paper == Paper::light ? "#ffffff" : "#0d1117");
        for (std::size_t groups = 1; groups <= 64; ++groups) {
            double before = 0;
            for (std::size_t g = 0; g < groups; ++g) {
                const std::string colour = group_colour(g, groups, paper);
                ASSERT_EQ(colour.size(), 7U);
                EXPECT_GE(contrast(luminance(colour), ground), 3.0) << colour << " of " << g << "/" << groups;
                EXPECT_GT(luminance(colour), before) << colour << " of " << g << "/" << groups;
                before = luminance(colour);
            }
        }
    }
    EXPECT_NE(group_colour_rules(2, Paper::light, ".n2g", "--c").find(".n2g1{--c:#"), std::string::npos);
}

TEST(SvgInk, ThinningKeepsCornersAlone) {
    EXPECT_THAT(thinned({{0, 0}, {1, 1}, {2, 2}, {3, 0}, {4, 0}}),
                ElementsAre(ElementsAre(0, 0), ElementsAre(2, 2), ElementsAre(3, 0), ElementsAre(4, 0)));
    EXPECT_EQ(thinned({}).size(), 0U);
    EXPECT_EQ(thinned({{1, 1}}).size(), 1U);
}

}  // namespace
}  // namespace strata::optim::svg
