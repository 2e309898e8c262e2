// The TensorBoard events of whole runs say what metrics.jsonl says; a run that goes on voids what it makes again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/file.h"
#include "tests/distributed/job.h"
#include "tests/support/event_reader.h"

namespace strata::testing_support {
namespace {

namespace fs = std::filesystem;

/// In the order in which readers take them.
std::vector<fs::path> event_files(const fs::path& run) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(run)) {
        if (entry.path().filename().string().starts_with("events.out.tfevents.")) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

/// Every scalar by tag and step, as TensorBoard has it after SessionLog START events.
using Series = std::map<std::string, std::map<std::int64_t, float>>;

Series series(const fs::path& run) {
    Series all;
    for (const auto& file : event_files(run)) {
        for (const ReadEvent& event : read_events(read_file(file))) {
            if (!event.session_log.empty()) {
                for (auto& [tag, points] : all) points.erase(points.lower_bound(event.step), points.end());
            }
            for (const auto& [tag, value] : event.scalars) all[tag][event.step] = value;
        }
    }
    return all;
}

void expect_as_logged(const Series& events, const fs::path& run) {
    const auto lines = read_lines(run / "metrics.jsonl");
    EXPECT_EQ(events.at("train/loss").size(), lines.size());
    for (const auto& line : lines) {
        const std::int64_t step = line["step"];
        EXPECT_EQ(events.at("train/loss").at(step), line["mean_loss"].get<float>());
        EXPECT_EQ(events.at("train/grad_norm").at(step), line["grad_norm"].get<float>());
        for (const auto& [tag, name] : std::map<std::string, std::string>{{"lr", "lr"},
                                                                          {"grad_norm", "group_grad_norm"},
                                                                          {"weight_norm", "group_weight_norm"},
                                                                          {"update_ratio", "group_update_ratio"},
                                                                          {"seconds", "seconds"}}) {
            ASSERT_FALSE(line[name].empty()) << name;
            for (const auto& [group, value] : line[name].items())
                EXPECT_EQ(events.at(tag + "/" + group).at(step), value.get<float>()) << tag << "/" << group;
        }
    }
}

void expect_success(const JobResult& job) {
    ASSERT_EQ(job.exit_code, 0) << job.output;
}

TEST(Events, say_what_metrics_and_evaluations_say) {
    const ScratchFolder scratch;
    expect_success(run_strata(2, with(parity_run(2, scratch / "run"), {"--eval_steps", "5", "--logging_steps", "4"})));
    EXPECT_EQ(event_files(scratch / "run").size(), 1U) << "one rank writes";
    const Series events = series(scratch / "run");
    expect_as_logged(events, scratch / "run");
    for (const auto& line : read_lines(scratch / "run/evaluations.jsonl"))
        EXPECT_EQ(events.at("eval/accuracy").at(line["step"]), line["eval_accuracy"].get<float>());
    const auto results = read_json(scratch / "run/all_results.json");
    EXPECT_EQ(events.at("eval/loss").at(20), results["eval_loss"].get<float>());
    EXPECT_EQ(events.at("train/train_loss").at(20), results["train_loss"].get<float>());
}

TEST(Events, of_a_resumed_run_begin_behind_its_checkpoint) {
    const ScratchFolder scratch;
    const auto run = with(parity_run(2, scratch / "run"), {"--save_steps", "7"});
    expect_success(run_strata(2, run));
    fs::remove_all(scratch / "run/checkpoint-20");  // as if it had died after update 14's
    expect_success(run_strata(2, with(run, {"--resume_from_checkpoint", "auto"})));
    const auto files = event_files(scratch / "run");
    ASSERT_EQ(files.size(), 2U);
    EXPECT_EQ(read_events(read_file(files[1]))[1].step, 15);
    expect_as_logged(series(scratch / "run"), scratch / "run");

    expect_success(run_strata(2, with(run, {"--overwrite_output_dir", "true", "--report_to", "none"})));
    EXPECT_TRUE(event_files(scratch / "run").empty()) << "the earlier run's are gone, and none were wanted";
}

}  // namespace
}  // namespace strata::testing_support
