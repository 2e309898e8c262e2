#include "optim/schedule.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <string>

namespace strata::optim {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;

Schedule fixture_schedule(const json& entry) {
    Schedule schedule{parse_schedule_kind(entry["name"].get<std::string>()), entry["warmup_steps"],
                      entry["total_steps"]};
    for (const auto& [name, value] : entry["options"].items()) {
        set_schedule_option(schedule, name, value.get<double>());
    }
    check_schedule(schedule);
    return schedule;
}

TEST(Schedule, EqualsItsSourceAtEveryStep) {
    const json fixture = json::parse(read_file(STRATA_FIXTURES "/optim/schedules.json"));
    std::set<std::string> names;
    for (const json& entry : fixture["schedules"]) {
        const Schedule schedule = fixture_schedule(entry);
        const double tolerance = entry["tolerance"];
        const std::vector<double> factors = entry["factors"];
        names.insert(entry["name"]);
        ASSERT_GE(static_cast<std::int64_t>(factors.size()), schedule.total_steps);
        for (std::size_t s = 0; s < factors.size(); ++s) {
            const auto step = static_cast<std::int64_t>(s);
            const std::string where = entry["name"].get<std::string>() + entry["options"].dump() + " of " +
                                      std::to_string(schedule.total_steps) + " step " + std::to_string(s);
            EXPECT_NEAR(factor(schedule, step), factors[s], tolerance) << where;
            const auto cycled = momentum(schedule, step);
            ASSERT_EQ(cycled.has_value(), !entry["momenta"].is_null()) << where;
            if (!cycled) continue;
            EXPECT_NEAR(*cycled, entry["momenta"][s].get<double>(), tolerance) << where;
        }
    }
    EXPECT_EQ(names, std::set<std::string>(schedule_names.begin(), schedule_names.end()));
}

TEST(Schedule, OneCycleFiguresAreThoseOfItsSource) {
    // fastai never reaches its end: 100 steps end at 4.5e-4. PyTorch does: 1/25/1e4.
    EXPECT_NEAR(factor({ScheduleKind::one_cycle, 0, 100}, 99), 4.48e-4, 1e-6);
    EXPECT_NEAR(factor({ScheduleKind::one_cycle_torch, 0, 100}, 99), 4e-6, 1e-15);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::one_cycle, 0, 100}, 25), 1.0);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::one_cycle_torch, 0, 100}, 29), 1.0);
    EXPECT_DOUBLE_EQ(*momentum({ScheduleKind::one_cycle, 0, 100}, 25), 0.85);
}

TEST(Schedule, TheThreeWarmUpsDiffer) {
    // At the end of a warm-up of 100 of 1000 updates.
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::linear, 100, 1000}, 100), 1.0);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::linear_bert, 100, 1000}, 99), 0.99);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::linear_bert, 100, 1000}, 100), 0.9);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::linear_electra, 100, 1000}, 50), 0.5 * 0.95);
    EXPECT_DOUBLE_EQ(factor({ScheduleKind::linear_electra, 100, 1000}, 100), 0.9);
}

TEST(Schedule, StaysBetweenZeroAndOneBeyondItsEndToo) {
    for (std::size_t kind = 0; kind < schedule_names.size(); ++kind) {
        for (const std::int64_t total : {1, 2, 3, 10, 57}) {
            Schedule schedule{static_cast<ScheduleKind>(kind), 0, total};
            if (schedule.kind == ScheduleKind::step) schedule.step_size = 3;
            for (const std::int64_t warmup : {std::int64_t{0}, std::int64_t{1}, total}) {
                schedule.warmup_steps = has_warmup(schedule.kind) ? warmup : 0;
                check_schedule(schedule);
                for (std::int64_t step = 0; step < total + 30; ++step) {
                    const double value = factor(schedule, step);
                    EXPECT_TRUE(value >= 0.0 && value <= 1.0) << schedule_names[kind] << " " << step << ": " << value;
                    const double moved = momentum(schedule, step).value_or(0.9);
                    EXPECT_TRUE(moved >= 0.85 - 1e-12 && moved <= 0.95 + 1e-12) << schedule_names[kind] << " " << moved;
                }
            }
        }
    }
    EXPECT_EQ(factor({ScheduleKind::linear, 0, 10}, 10), 0.0);
    EXPECT_EQ(factor({ScheduleKind::linear, 0, 10}, 25), 0.0);
    EXPECT_EQ(factor({ScheduleKind::cosine, 0, 10}, 25), 0.0);
}

TEST(Schedule, ParsesEveryNameOnTheList) {
    for (std::size_t kind = 0; kind < schedule_names.size(); ++kind) {
        EXPECT_EQ(parse_schedule_kind(schedule_names[kind]), static_cast<ScheduleKind>(kind));
        EXPECT_EQ(schedule_name(static_cast<ScheduleKind>(kind)), schedule_names[kind]);
    }
    EXPECT_EQ(schedule_name(ScheduleKind::step), "step");
    EXPECT_EQ(schedule_name(ScheduleKind::one_cycle_torch), "one_cycle_torch");
    EXPECT_EQ(parse_schedule_kind("one-cycle"), ScheduleKind::one_cycle);
    EXPECT_EQ(parse_schedule_kind("constant_with_warmup"), ScheduleKind::constant);
    EXPECT_THAT(message_of<UserError>([] { parse_schedule_kind("liner"); }), HasSubstr("'linear'"));
}

std::string refusal(Schedule schedule, std::string_view option, double value) {
    return message_of<UserError>([&] {
        set_schedule_option(schedule, option, value);
        check_schedule(schedule);
    });
}

TEST(ScheduleOptions, WhatTheScheduleDoesNotHaveIsRefusedByName) {
    EXPECT_EQ(refusal({ScheduleKind::cosine, 0, 10}, "gamma", 0.5),
              "gamma is not an option of schedule 'cosine', which has warmup_steps, num_cycles.");
    EXPECT_EQ(refusal({ScheduleKind::stlr, 0, 10}, "pct_start", 0.5),
              "pct_start is not an option of schedule 'stlr', which has cut_frac, ratio.");
    EXPECT_THAT(refusal({ScheduleKind::step, 0, 10}, "gama", 0.5), HasSubstr("'gamma'"));
    Schedule set_by_hand{ScheduleKind::linear, 0, 10};
    set_by_hand.ratio = 32.0;
    EXPECT_THAT(message_of<UserError>([&] { check_schedule(set_by_hand); }), HasSubstr("ratio is not an option"));
    for (const ScheduleOption& option : schedule_options()) {
        for (std::size_t kind = 0; kind < schedule_names.size(); ++kind) {
            Schedule schedule{static_cast<ScheduleKind>(kind), 0, 10};
            const auto set = [&] { set_schedule_option(schedule, option.name, 1.0); };
            EXPECT_EQ(message_of<UserError>(set).empty(), option.defaults[kind].has_value()) << option.name;
        }
    }
}

TEST(ScheduleOptions, ValuesOutOfRangeAreRefused) {
    const Schedule cosine{ScheduleKind::cosine, 0, 10};
    const Schedule cycle{ScheduleKind::one_cycle, 0, 10};
    const Schedule torch{ScheduleKind::one_cycle_torch, 0, 10};
    const Schedule polynomial{ScheduleKind::polynomial, 0, 10};
    const Schedule stlr{ScheduleKind::stlr, 0, 10};
    const Schedule step{ScheduleKind::step, 0, 10};
    EXPECT_EQ(refusal(cosine, "num_cycles", -0.5), "num_cycles of schedule 'cosine' is -0.5; it must be 0 or more.");
    EXPECT_EQ(refusal(polynomial, "power", 0.0), "power of schedule 'polynomial' is 0; it must be above 0.");
    EXPECT_THAT(refusal(polynomial, "end_factor", 1.5), HasSubstr("from 0 to 1."));
    EXPECT_THAT(refusal(cycle, "pct_start", 1.5), HasSubstr("pct_start"));
    EXPECT_THAT(refusal(cycle, "pct_start", std::nan("")), HasSubstr("pct_start"));
    EXPECT_THAT(refusal(cycle, "div", 0.5), HasSubstr("1 or more"));
    EXPECT_THAT(refusal(cycle, "div_final", std::numeric_limits<double>::infinity()), HasSubstr("1 or more"));
    EXPECT_THAT(refusal(cycle, "momentum_high", 1.0), HasSubstr("from 0 to 1 (not 1 itself)"));
    EXPECT_THAT(refusal(torch, "anneal_linear", 0.5), HasSubstr("true or false"));
    EXPECT_THAT(refusal(stlr, "ratio", 0.0), HasSubstr("ratio"));
    EXPECT_THAT(refusal(step, "step_size", 2.5), HasSubstr("a whole number, 1 or more"));
    EXPECT_EQ(refusal(step, "gamma", 0.5),
              "step_size of schedule 'step' is not set; it must be a whole number, 1 or more.");
    EXPECT_EQ(refusal(step, "step_size", 2.0), "");
}

TEST(ScheduleOptions, WarmUpIsCheckedToo) {
    const auto message = [](const Schedule& schedule) {
        return message_of<UserError>([&] { check_schedule(schedule); });
    };
    EXPECT_THAT(message({ScheduleKind::linear, -1, 10}), HasSubstr("warmup_steps is -1"));
    EXPECT_THAT(message({ScheduleKind::linear, 11, 10}), HasSubstr("warm-up of 11 steps is longer than its 10"));
    EXPECT_THAT(message({ScheduleKind::one_cycle, 1, 10}),
                AllOf(HasSubstr("warmup_steps is not an option"), HasSubstr("pct_start")));
    EXPECT_EQ(message({ScheduleKind::linear, 10, 10}), "");
}

TEST(ScheduleOptions, DefaultsAreThoseOfTheSource) {
    EXPECT_EQ(option_value({ScheduleKind::one_cycle, 0, 10}, &Schedule::pct_start), 0.25);
    EXPECT_EQ(option_value({ScheduleKind::one_cycle_torch, 0, 10}, &Schedule::pct_start), 0.3);
    EXPECT_EQ(option_value({ScheduleKind::stlr, 0, 10}, &Schedule::ratio), 32.0);
    EXPECT_THROW(option_value({ScheduleKind::linear, 0, 10}, &Schedule::ratio), std::logic_error);
}

}  // namespace
}  // namespace strata::optim
