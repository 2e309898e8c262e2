#include "optim/range_test.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "core/file.h"
#include "model_manifests.h"
#include "optim/range_test_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

namespace strata::optim {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::gru_manifest;
using ::testing::HasSubstr;
using testing::message_of;

double given_loss(const json& loss) {
    if (loss.is_null()) return std::numeric_limits<double>::quiet_NaN();
    return loss.is_string() ? std::numeric_limits<double>::infinity() : loss.get<double>();
}

/// fastai computes in float32; its losses are of the order of 1.
constexpr double float_tolerance = 2e-6;

void expect_equal_to_fastai(const json& fixture) {
    RangeCurve curve({fixture["start_lr"], fixture["end_lr"], fixture["num_it"], fixture["stop_div"]});
    for (const json& loss : fixture["losses"]) {
        if (!curve.add(given_loss(loss))) break;
    }
    const json &rates = fixture["rates"], &smoothed = fixture["smoothed"];
    // What fastai records of losses that are no number, this curve leaves out.
    ASSERT_LE(curve.rates().size(), rates.size());
    for (std::size_t i = curve.rates().size(); i < rates.size(); ++i) EXPECT_TRUE(smoothed[i].is_null()) << i;
    for (std::size_t i = 0; i < curve.rates().size(); ++i) {
        const double rate = rates[i];
        EXPECT_NEAR(curve.rates()[i], rate, 1e-12 * rate) << i;
        EXPECT_NEAR(curve.smoothed()[i], smoothed[i].get<double>(), float_tolerance * (1 + curve.smoothed()[i])) << i;
    }
    const auto found = range_suggestions(curve);
    ASSERT_EQ(found.has_value(), !fixture["suggestions"].is_null());
    if (!found) return;
    for (const auto& [name, title, suggestion] : named_suggestions(*found)) {
        const double wanted = fixture["suggestions"][name];
        EXPECT_NEAR(suggestion.rate, wanted, 1e-6 * wanted) << name;
    }
}

TEST(RangeCurve, EqualsFastais) {
    const json fixtures = json::parse(read_file(STRATA_FIXTURES "/optim/range_tests.json"));
    ASSERT_GE(fixtures.size(), 11U);
    for (const json& fixture : fixtures) {
        SCOPED_TRACE(fixture["name"].get<std::string>());
        expect_equal_to_fastai(fixture);
    }
}

TEST(RangeCurve, SaysHowItEnded) {
    const auto ended = [](std::vector<double> losses) {
        RangeCurve curve({1e-3, 1.0, 10, true});
        for (const double loss : losses) {
            if (!curve.add(loss)) break;
        }
        return curve.end();
    };
    EXPECT_EQ(ended(std::vector<double>(10, 1.0)), RangeTestEnd::end_lr);
    EXPECT_EQ(ended({1.0, 1.0, 1e3}), RangeTestEnd::diverged);
    EXPECT_EQ(ended({1.0, INFINITY}), RangeTestEnd::diverged);
    EXPECT_EQ(ended({1.0, NAN}), RangeTestEnd::not_a_number);
    RangeCurve curve({1e-3, 1.0, 10, true});
    EXPECT_TRUE(curve.add(1.0));
    EXPECT_FALSE(curve.add(1.0, false)) << "a gradient that is not finite ends the test as a loss does";
    EXPECT_EQ(curve.rates().size(), 1U);
}

TEST(RangeTest, RefusesFiguresThatMakeNoSense) {
    const auto refusal = [](const RangeTestConfig& config) {
        return message_of<UserError>([&] { check_range_test(config); });
    };
    EXPECT_THAT(refusal({.start_lr = 0.0}), HasSubstr("start_lr is 0"));
    EXPECT_THAT(refusal({.start_lr = NAN}), HasSubstr("start_lr is nan"));
    EXPECT_THAT(refusal({.start_lr = 1.0, .end_lr = 1.0}), HasSubstr("end_lr must be above start_lr"));
    EXPECT_THAT(refusal({.end_lr = INFINITY}), HasSubstr("end_lr is inf"));
    EXPECT_THAT(refusal({.num_it = 9}), AllOf(HasSubstr("num_it is 9"), HasSubstr("at least 10")));
}

/// embedding, gru, fc at 0.25, 0.5, 1; a stage for fc alone, then one with a slice.
Plan staged_plan() {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::prefix_decay, .decay = 0.5};
    config.learning_rate = 1e-2;
    config.total_steps = 100;
    config.schedule.options.kind = ScheduleKind::constant;
    StageConfig head{.name = "head", .length = parse_length("40u"), .freeze_to = -1};
    StageConfig rest{.name = "rest", .slice = RateSlice{1e-4, 1e-2}};
    config.stages = {head, rest};
    return make_plan(gru_manifest(), config);
}

constexpr RangeTestConfig range{1e-6, 1e-1, 50, true};

TEST(RangeTestPlan, TrainsTheFirstStageByItsMultipliers) {
    const Plan test = range_test_plan(staged_plan(), range, "", "");
    ASSERT_EQ(test.stages.size(), 1U);
    EXPECT_EQ(test.stages[0].name, "head");
    EXPECT_EQ(test.total_steps, 50);
    EXPECT_FALSE(test.trainable(0, 0));
    EXPECT_TRUE(test.trainable(2, 49));
    RangeCurve curve(range);
    for (std::int64_t step = 0; step < 50; ++step) {
        const double rate = curve.next_rate();
        EXPECT_NEAR(test.learning_rate(2, step), rate, 1e-12 * rate) << step;
        curve.add(1.0);
    }
}

TEST(RangeTestPlan, ASlicesHighEndIsTheRate) {
    const Plan test = range_test_plan(staged_plan(), range, "rest", "");
    EXPECT_DOUBLE_EQ(test.learning_rate(2, 0), 1e-6);
    EXPECT_NEAR(test.learning_rate(1, 0), 1e-7, 1e-18);
    EXPECT_NEAR(test.learning_rate(0, 0), 1e-8, 1e-19);

    PlanConfig config;
    config.policy = {.kind = PolicyKind::slice, .split = PolicyKind::prefix_decay, .slice = {1e-5, 1e-3}};
    config.learning_rate = 7e-4;
    config.total_steps = 10;
    const Plan sliced = range_test_plan(make_plan(gru_manifest(), config), range, "", "");
    EXPECT_NEAR(sliced.learning_rate(2, 0), 1e-6, 1e-17);
    EXPECT_NEAR(sliced.learning_rate(0, 0), 1e-8, 1e-19);
}

TEST(RangeTestPlan, OneGroupAloneIsTestedAtTheRateItself) {
    const Plan test = range_test_plan(staged_plan(), range, "rest", "embedding");
    EXPECT_DOUBLE_EQ(test.learning_rate(0, 0), 1e-6);
    EXPECT_FALSE(test.trainable(1, 0));
    EXPECT_FALSE(test.trainable(2, 0));
}

TEST(RangeTestPlan, RefusesWhatIsNotThere) {
    const auto refusal = [](const std::string& stage, const std::string& group) {
        return message_of<UserError>([&] { range_test_plan(staged_plan(), range, stage, group); });
    };
    EXPECT_THAT(refusal("heat", ""), AllOf(HasSubstr("stage 'heat'"), HasSubstr("Did you mean 'head'?")));
    EXPECT_THAT(refusal("", "embeding"), AllOf(HasSubstr("group 'embeding'"), HasSubstr("'embedding'")));
    EXPECT_THAT(refusal("", "gru"), AllOf(HasSubstr("frozen in stage 'head'"), HasSubstr("trains fc")));
}

RangeTest falling_test(const std::string& group, double by) {
    RangeTest test{group, RangeCurve(range), std::nullopt};
    for (int i = 0; i < 50 && test.curve.add(i < 35 ? 1.0 - by * i : 0.5 + 0.4 * (i - 35)); ++i) {
    }
    test.suggestions = range_suggestions(test.curve);
    return test;
}

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

TEST(RangeTestOutput, OfAllGroupsTogether) {
    const Plan plan = staged_plan();
    const RangeTestReport report{plan, plan.stages[1], range, {falling_test("", 0.01)}};
    EXPECT_THAT(range_test_table(report), AllOf(HasSubstr("Range test of stage rest: all groups"), HasSubstr("valley"),
                                                HasSubstr("the high end of their slice"), HasSubstr("embedding")));
    const json out = range_test_json(report);
    EXPECT_EQ(out["stage"], "rest");
    const json& test = out["tests"][0];
    EXPECT_TRUE(test["group"].is_null());
    EXPECT_EQ(test["learning_rate"].size(), test["smoothed"].size());
    const json& valley = test["suggestions"]["valley"];
    const double rate = valley["learning_rate"];
    EXPECT_NEAR(valley["groups"]["embedding"].get<double>(), rate * 0.01, 1e-12 * rate);
    EXPECT_EQ(valley["groups"]["fc"], rate);
    const std::string svg = range_test_svg(report);
    EXPECT_TRUE(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    EXPECT_EQ(count_of(svg, "<path class=\"line"), 1U);
    EXPECT_EQ(count_of(svg, "class=\"mark\""), 6U) << "three on the line, three in the legend";
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(RangeTestOutput, DrawsEverySuggestionInsideTheFrame) {
    const Plan plan = staged_plan();
    RangeTest test = falling_test("", 0.01);
    test.suggestions->steep.loss_there = test.curve.smoothed().front() * 10;
    const std::string svg = range_test_svg({plan, plan.stages[1], range, {test}});
    EXPECT_THAT(svg, Not(HasSubstr("y=\"-"))) << "a square above the paper";
}

TEST(RangeTestOutput, OfEachGroup) {
    const Plan plan = staged_plan();
    const RangeTestReport report{
        plan,
        plan.stages[1],
        range,
        {falling_test("embedding", 0.001), falling_test("gru", 0.004), falling_test("fc", 0.01)}};
    const std::string table = range_test_table(report);
    EXPECT_THAT(table, AllOf(HasSubstr("each group alone"), HasSubstr("minimum / 10"), HasSubstr("embedding")));
    EXPECT_EQ(range_test_json(report)["tests"][1]["group"], "gru");
    const std::string svg = range_test_svg(report);
    EXPECT_EQ(count_of(svg, "<path class=\"line"), 3U);
    EXPECT_EQ(count_of(svg, "class=\"mark\""), 3U);
}

TEST(RangeTestOutput, OfATestThatEndedTooSoon) {
    const Plan plan = staged_plan();
    RangeTest test{"", RangeCurve(range), std::nullopt};
    test.curve.add(1.0);
    test.curve.add(NAN);
    const RangeTestReport report{plan, plan.stages[0], range, {test}};
    EXPECT_THAT(range_test_table(report), HasSubstr("No suggestion"));
    EXPECT_TRUE(range_test_json(report)["tests"][0]["suggestions"].is_null());
    EXPECT_EQ(range_test_json(report)["tests"][0]["end"], "not_a_number");
    EXPECT_THAT(range_test_svg(report), HasSubstr("no suggestion"));
}

}  // namespace
}  // namespace strata::optim
