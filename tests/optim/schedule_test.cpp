#include "optim/schedule.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace strata::optim {
namespace {

using ::testing::HasSubstr;

TEST(Schedule, EqualsTransformersAtEveryStep) {
    const auto fixture = nlohmann::json::parse(read_file(STRATA_FIXTURES "/optim/schedules.json"));
    ASSERT_EQ(fixture["schedules"].size(), 8U);
    for (const auto& entry : fixture["schedules"]) {
        const Schedule schedule{parse_schedule_kind(entry["name"].get<std::string>()), entry["warmup_steps"],
                                entry["total_steps"]};
        const std::vector<double> expected = entry["factors"];
        for (std::size_t step = 0; step < expected.size(); ++step) {
            EXPECT_EQ(factor(schedule, static_cast<std::int64_t>(step)), expected[step])
                << entry["name"] << " warm-up " << schedule.warmup_steps << " step " << step;
        }
    }
}

TEST(Schedule, NeverFallsBelowZero) {
    EXPECT_EQ(factor({ScheduleKind::linear, 0, 10}, 10), 0.0);
    EXPECT_EQ(factor({ScheduleKind::linear, 0, 10}, 25), 0.0);
}

TEST(Schedule, ParsesItsNames) {
    EXPECT_EQ(parse_schedule_kind("linear"), ScheduleKind::linear);
    EXPECT_EQ(parse_schedule_kind("constant"), ScheduleKind::constant);
    EXPECT_EQ(parse_schedule_kind("constant_with_warmup"), ScheduleKind::constant);
    EXPECT_THAT(testing::message_of<UserError>([] { parse_schedule_kind("liner"); }), HasSubstr("'linear'"));
}

}  // namespace
}  // namespace strata::optim
