// The line of a logged update, as people read it.
#include "apps/strata/training_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace strata::app {
namespace {

using testing::EndsWith;

std::string line_of(std::vector<std::pair<std::string, double>> rates) {
    StepRecord record;
    record.learning_rates = std::move(rates);
    return log_line(record);
}

TEST(LogLine, names_the_rates_of_a_few_groups) {
    EXPECT_THAT(line_of({{"backbone", 1e-5}, {"head", 2e-4}}), EndsWith("| lr backbone=1e-05 head=0.0002"));
}

TEST(LogLine, says_of_many_groups_the_extremes_of_those_that_train) {
    EXPECT_THAT(line_of({{"a", 0}, {"b", 2e-5}, {"c", 1e-5}, {"d", 3e-5}, {"e", 2e-5}}),
                EndsWith("| lr c=1e-05 to d=3e-05"));
    EXPECT_THAT(line_of({{"a", 0}, {"b", 2e-5}, {"c", 2e-5}, {"d", 2e-5}, {"e", 2e-5}}), EndsWith("| lr 2e-05"));
    EXPECT_THAT(line_of({{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}, {"e", 0}}), EndsWith("| lr 0"));
}

}  // namespace
}  // namespace strata::app
