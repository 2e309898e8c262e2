// From numbers to the points of a path.
#include "apps/strata/report/curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "apps/strata/report/chart.h"
#include "apps/strata/report/numbers.h"

namespace strata::app::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(Curves, MissingValuesAreGaps) {
    const Points points = points_of({1, 2, 3, 4, 5}, {nan, 1, nan, nan, 2});
    ASSERT_EQ(points.size(), 3U);
    EXPECT_THAT(points[0], ElementsAre(2, 1));
    EXPECT_TRUE(std::isnan(points[1][1]));
    EXPECT_THAT(points[2], ElementsAre(5, 2));
    EXPECT_EQ(path_data({{0, 1.26}, {2, 3}, {2, nan}, {10, 0}}), "M0.0 1.3L2.0 3.0M10.0 0.0");
}

TEST(Curves, DecimationKeepsEverySpikeAndBothEnds) {
    Points points;
    for (int i = 0; i < 10000; ++i) points.push_back({double(i), std::sin(i * 0.37)});
    points[1234][1] = 50;
    points[7777][1] = -50;
    const Points few = decimated(points, 100);
    EXPECT_LE(few.size(), 202U);
    EXPECT_EQ(few.front(), points.front());
    EXPECT_EQ(few.back(), points.back());
    EXPECT_THAT(few, testing::Contains(points[1234]));
    EXPECT_THAT(few, testing::Contains(points[7777]));
    EXPECT_TRUE(std::is_sorted(few.begin(), few.end(), [](const auto& a, const auto& b) { return a[0] < b[0]; }));
    EXPECT_EQ(decimated(few, 101), few) << "what fits stays as it is";
}

TEST(Curves, DecimationKeepsGaps) {
    Points points;
    for (int i = 0; i < 1000; ++i) points.push_back({double(i), i == 500 ? nan : 1.0});
    const Points few = decimated(points, 10);
    EXPECT_EQ(std::count_if(few.begin(), few.end(), [](const auto& point) { return std::isnan(point[1]); }), 1);
}

TEST(Curves, AveragesAreOfEachStretch) {
    const Points points = averaged({{0, 1}, {1, 3}, {2, 5}, {3, 7}}, 2);
    ASSERT_EQ(points.size(), 2U);
    EXPECT_THAT(points[0], ElementsAre(0.5, 2));
    EXPECT_THAT(points[1], ElementsAre(2.5, 6));
}

TEST(Curves, SmoothingBeginsWithoutBias) {
    const Column flat = smoothed(Column(20, 4.0), 5);
    for (const double value : flat) EXPECT_NEAR(value, 4.0, 1e-12);
    // Weights 1/3 and 2/3·1/3 over their sum, with the span 5.
    const Column two = smoothed({1, nan, 4}, 5);
    EXPECT_TRUE(std::isnan(two[1]));
    EXPECT_NEAR(two[2], (2.0 / 9 * 1 + 1.0 / 3 * 4) / (2.0 / 9 + 1.0 / 3), 1e-12);
}

TEST(Numbers, AreShort) {
    EXPECT_EQ(number_text(0.69314718), "0.6931");
    EXPECT_EQ(number_text(2e-5), "2e-5");
    EXPECT_EQ(number_text(1.2344e-7), "1.234e-7");
    EXPECT_EQ(number_text(9.99999e-4), "1e-3");
    EXPECT_EQ(number_text(12345), "12.35k");
    EXPECT_EQ(number_text(nan), "–");
    EXPECT_EQ(number_text(0), "0");
    EXPECT_EQ(tick_text(2000), "2000");
    EXPECT_EQ(duration_text(13.42), "13.4 s");
    EXPECT_EQ(duration_text(3721), "1:02:01");
}

Scale scale_for(const Points& points, Spread spread) {
    const Series series{"x", "r0", points};
    return scale_of({&series}, {}, spread);
}

TEST(ChartScale, FollowsTheSpread) {
    EXPECT_FALSE(scale_for({{0, 0.5}, {1, 2}}, Spread::values).is_logarithmic());
    EXPECT_TRUE(scale_for({{0, 1e-5}, {1, 1e-2}}, Spread::values).is_logarithmic());
    // A rate that begins and ends at 0 has one peak.
    EXPECT_FALSE(scale_for({{0, 0}, {1, 1e-3}, {2, 1e-6}}, Spread::peaks).is_logarithmic());
    const Series slow{"slow", "g0", {{0, 1e-5}}};
    const Series fast{"fast", "g1", {{0, 1e-3}}};
    const Scale scale = scale_of({&slow, &fast}, {}, Spread::peaks);
    EXPECT_TRUE(scale.is_logarithmic());
    EXPECT_NEAR(scale.low(), 1e-6, 1e-12);
    EXPECT_EQ(scale_of({}, {}, Spread::values).high(), 1.0);
    EXPECT_LT(scale_for({{0, 3}, {1, 3}}, Spread::values).low(), 3.0);
}

TEST(ChartHtml, PlacesPointsOnItsScales) {
    const Chart chart{.title = "Loss",
                      .series = {{"run", "r0", {{0, 4}, {5, 0}, {10, 2}}, Look::line}},
                      .last_step = 10,
                      .scale = Scale::linear(0, 4)};
    const std::string html = chart_html(chart, "loss");
    EXPECT_THAT(html, HasSubstr("d=\"M0.0 0.0L500.0 300.0L1000.0 150.0\""));
    EXPECT_THAT(html, HasSubstr("<title id=\"loss-t\">Loss</title>"));
    EXPECT_THAT(html, HasSubstr("run: from 4 to 2, between 0 and 4."));
    EXPECT_THAT(html,
                HasSubstr("<th scope=\"row\">run</th><td>4 <small>at 0</small></td><td>0 <small>at 5</small></td>"));
    EXPECT_THAT(html, HasSubstr("<span style=\"top:0.00%\">4</span>"));
    EXPECT_THAT(html, HasSubstr("<span style=\"left:100.00%\">10</span>"));
}

TEST(ChartHtml, DrawsDotsWhereALineHasOnePoint) {
    const Chart chart{.title = "One", .series = {{"run", "r0", {{3, 1}}, Look::line}}, .last_step = 6};
    EXPECT_THAT(chart_html(chart, "one"), HasSubstr("class=\"dots r0\" data-name=\"run\" d=\"M500.0"));
}

TEST(ChartHtml, EndNamesKeepTheirDistance) {
    Chart chart{.title = "Ends", .series = {}, .last_step = 1, .scale = Scale::linear(0, 1), .end_names = true};
    for (const double value : {0.01, 0.011, 0.5}) chart.series.push_back({"n", "g0", {{0, value}, {1, value}}});
    // 1/16 of the height apart, the lowest not below the frame.
    EXPECT_THAT(chart_html(chart, "ends"),
                AllOf(HasSubstr("top:50.00%"), HasSubstr("top:93.75%"), HasSubstr("top:100.00%")));
    chart.series.resize(17, chart.series.front());
    EXPECT_THAT(chart_html(chart, "ends"), Not(HasSubstr("class=\"ends\"")));
}

}  // namespace
}  // namespace strata::app::report
