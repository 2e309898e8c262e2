// Reading run directories for a report, whole ones and those that are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/strata/report/run_record.h"
#include "core/error.h"
#include "run_folder.h"
#include "tests/support/scratch_folder.h"

namespace strata::app::report {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::MadeUpRun;
using testing_support::make_run;
using testing_support::ScratchFolder;

std::string error_of(const fs::path& folder) {
    try {
        read_run(folder);
    } catch (const UserError& error) {
        return error.what();
    }
    return "no error";
}

TEST(ReadRun, TakesWhatTheRunHasWritten) {
    const ScratchFolder scratch;
    const RunRecord run = read_run(make_run(scratch.path(), {.groups = 12, .updates = 20, .stages = true}));
    EXPECT_EQ(run.name, "run");
    ASSERT_EQ(run.steps.size(), 20U);
    EXPECT_DOUBLE_EQ(run.number("mean_loss")->at(9), 1.5);
    // From the input to the head, as the plan has them, not in the order of their letters.
    EXPECT_EQ(run.groups[2], "group_2");
    EXPECT_EQ(run.columns("lr")->at(10).first, "group_10");
    ASSERT_EQ(run.stages.size(), 2U);
    EXPECT_EQ(run.stages[1].first, 10);
    ASSERT_EQ(run.evaluations.size(), 2U);
    EXPECT_EQ(run.evaluations[1].step, 20);
    EXPECT_EQ(run.evaluations[1].values.at("eval_accuracy"), 0.9);
    EXPECT_EQ(run.setting("model_name_or_path"), "models/small");
    EXPECT_TRUE(run.finished());
    EXPECT_TRUE(run.notes.empty());
}

TEST(ReadRun, LeavesOutALastLineWithoutEnd) {
    const ScratchFolder scratch;
    const fs::path folder = make_run(scratch.path(), {.updates = 5, .finished = false});
    append_to_file(folder / "metrics.jsonl", "{\"step\": 6, \"los");
    const RunRecord run = read_run(folder);
    EXPECT_EQ(run.steps.size(), 5U);
    EXPECT_FALSE(run.finished());
    EXPECT_THAT(run.notes, ElementsAre(HasSubstr("no end yet")));
}

TEST(ReadRun, LaterLinesReplaceThoseOfTheSameUpdates) {
    const ScratchFolder scratch;
    const fs::path folder = make_run(scratch.path(), {.updates = 5});
    append_to_file(folder / "metrics.jsonl", "{\"step\":4,\"loss\":7}\n{\"step\":5,\"loss\":8}\n");
    const RunRecord run = read_run(folder);
    EXPECT_THAT(run.steps, ElementsAre(1, 2, 3, 4, 5));
    EXPECT_EQ(run.number("loss")->at(3), 7);
    EXPECT_THAT(run.notes, ElementsAre(HasSubstr("2 lines of metrics.jsonl")));
}

TEST(ReadRun, ResultsOfAnEarlierEndAreNotThoseOfARunThatGoesOn) {
    const ScratchFolder scratch;
    const fs::path folder = make_run(scratch.path(), {.updates = 5});
    append_to_file(folder / "metrics.jsonl", "{\"step\":6,\"loss\":7}\n");
    EXPECT_FALSE(read_run(folder).finished());
}

TEST(ReadRun, AYoungRunHasNothingYet) {
    const ScratchFolder scratch;
    write_file_atomically(scratch.path() / "config.toml", "seed = 1\n");
    const RunRecord run = read_run(scratch.path());
    EXPECT_TRUE(run.steps.empty());
    EXPECT_EQ(run.last_step(), 0);
    EXPECT_FALSE(run.finished());
    write_file_atomically(scratch.path() / "metrics.jsonl", "");
    EXPECT_TRUE(read_run(scratch.path()).steps.empty());
}

TEST(ReadRun, DoesWithoutAPlan) {
    const ScratchFolder scratch;
    const fs::path folder = make_run(scratch.path(), {.updates = 5});
    fs::remove(folder / "plan.json");
    const RunRecord run = read_run(folder);
    EXPECT_THAT(run.groups, ElementsAre("group_0", "group_1", "group_2"));
    EXPECT_THAT(run.notes, ElementsAre(HasSubstr("no plan.json")));
}

TEST(ReadRun, NamesFileAndLineOfWhatIsMalformed) {
    const ScratchFolder scratch;
    const fs::path folder = make_run(scratch.path(), {.updates = 3});
    const std::string metrics = read_file(folder / "metrics.jsonl");
    write_file_atomically(folder / "metrics.jsonl", metrics + "{\"step\": 4,, }\n{\"step\":5}\n");
    EXPECT_THAT(error_of(folder), HasSubstr("metrics.jsonl:4: is not JSON"));
    write_file_atomically(folder / "metrics.jsonl", metrics + "{\"loss\": 4}\n");
    EXPECT_THAT(error_of(folder), HasSubstr("metrics.jsonl:4: expected an object with a \"step\""));
    write_file_atomically(folder / "metrics.jsonl", metrics + "{\"step\":4,\"loss\":[1]}\n");
    EXPECT_THAT(error_of(folder), HasSubstr("metrics.jsonl:4: \"loss\" is array, expected a number"));
    write_file_atomically(folder / "metrics.jsonl", metrics + "{\"step\":4,\"lr\":{\"head\":true}}\n");
    EXPECT_THAT(error_of(folder), HasSubstr("metrics.jsonl:4: \"head\" is boolean, expected a number"));
    write_file_atomically(folder / "metrics.jsonl", metrics);
    write_file_atomically(folder / "all_results.json", "{\n \"a\": 1,\n \"b\" 2\n}\n");
    EXPECT_THAT(error_of(folder), HasSubstr("all_results.json:3: is not JSON"));
    write_file_atomically(folder / "all_results.json", "[]");
    EXPECT_THAT(error_of(folder), HasSubstr("expected an object"));
    fs::remove(folder / "all_results.json");
    write_file_atomically(folder / "plan.json", "{\"groups\": [{}]}");
    EXPECT_THAT(error_of(folder), HasSubstr("plan.json: is not a plan that strata wrote"));
}

TEST(ReadRun, RefusesWhatIsNoRunAndNamesTheRunsNearby) {
    const ScratchFolder scratch;
    make_run(scratch.path(), {.name = "first"});
    EXPECT_THAT(error_of(scratch.path() / "frist"), AllOf(HasSubstr("no such folder"), HasSubstr(": first")));
    EXPECT_THAT(error_of(scratch.path()), AllOf(HasSubstr("is no run directory"), HasSubstr(": first")));
    EXPECT_THAT(error_of(scratch.path() / "first/plan.json"), HasSubstr("is a file"));
}

}  // namespace
}  // namespace strata::app::report
