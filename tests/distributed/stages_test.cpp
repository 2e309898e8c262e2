// Stages as a user writes them: groups that thaw in the middle of a run on several ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/distributed/job.h"

namespace strata::testing_support {
namespace {

/// The logged steps of a run through three stages on so many ranks.
std::vector<nlohmann::json> staged_run(int ranks, const ScratchFolder& scratch) {
    const auto folder = scratch / ("run-" + std::to_string(ranks));
    const auto job =
        run_strata(ranks, with(parity_run(ranks, folder), {"--config", scratch.write("stages.toml", three_stages)}));
    EXPECT_EQ(job.exit_code, 0) << job.output;
    EXPECT_THAT(job.output, testing::HasSubstr("stage stage_2, updates 7 to 13: 2 of 5 groups learn: layer_2, head"));
    auto lines = read_lines(folder / "metrics.jsonl");
    EXPECT_EQ(lines.size(), 20U);
    return lines;
}

TEST(Stages, ranks_do_not_change_the_losses_of_a_thawing_run) {
    const ScratchFolder scratch;
    const auto alone = staged_run(1, scratch);
    for (const int ranks : {2, 4}) {
        const auto together = staged_run(ranks, scratch);
        ASSERT_EQ(together.size(), alone.size());
        for (std::size_t i = 0; i < alone.size(); ++i) {
            const double loss = alone[i]["loss"];
            EXPECT_NEAR(together[i]["loss"].get<double>(), loss, 1e-5 * loss) << ranks << " ranks, step " << i + 1;
            EXPECT_EQ(together[i]["lr"], alone[i]["lr"]);
            EXPECT_EQ(together[i]["stage"], alone[i]["stage"]);
        }
    }
}

TEST(Stages, what_is_frozen_costs_neither_messages_nor_state) {
    const ScratchFolder scratch;
    const auto lines = staged_run(2, scratch);
    const auto first = lines[0], second = lines[6], third = lines[13];
    for (const char* cost : {"bytes_sent", "optimizer_bytes"}) {
        EXPECT_LT(first[cost].get<double>(), 0.25 * second[cost].get<double>()) << cost;
        EXPECT_LT(second[cost].get<double>(), 0.75 * third[cost].get<double>()) << cost;
    }
    EXPECT_EQ(first["lr"]["layer_0"], 0.0);
    EXPECT_EQ(first["group_update_ratio"]["layer_0"], 0.0);
    EXPECT_GT(first["group_weight_norm"]["layer_0"].get<double>(), 0.0);
    EXPECT_EQ(first["group_weight_norm"]["layer_0"], second["group_weight_norm"]["layer_0"]);
    EXPECT_GT(lines[14]["group_update_ratio"]["layer_0"].get<double>(), 0.0);
    EXPECT_GT(lines[14]["lr"]["layer_0"].get<double>(), 0.0) << "after the first step of the stage's warm-up";
}

}  // namespace
}  // namespace strata::testing_support
