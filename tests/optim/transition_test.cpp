// Thaws, freezes and resets, and what they cost in memory and bytes sent.
#include "core/error.h"
#include "model_manifests.h"
#include "optim/plan.h"
#include "optim/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace strata::optim {
namespace {

using Kind = Transition::Kind;
using testing::resnet18_manifest;

/// Stages of 10 updates over backbone and head; the letters say which of the two train: 'h', 'b', or '*' for both.
Plan two_part(std::string_view stages, OnUnfreeze on_unfreeze, int ranks = 1) {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::two_part};
    config.total_steps = 10 * static_cast<std::int64_t>(stages.size());
    config.world_size = ranks;
    for (const char letter : stages) {
        StageConfig stage;
        stage.length = parse_length("10u");
        stage.groups = letter == 'h'   ? std::vector<std::string>{"head"}
                       : letter == 'b' ? std::vector<std::string>{"backbone"}
                                       : std::vector<std::string>{"*"};
        stage.on_unfreeze = on_unfreeze;
        config.stages.push_back(stage);
    }
    return make_plan(resnet18_manifest(), config);
}

struct Event {
    std::int64_t step;
    std::size_t group;
    Kind kind;
    bool keeps;
    friend bool operator==(const Event&, const Event&) = default;
};

std::vector<Event> events(const Plan& plan) {
    std::vector<Event> out;
    for (const Transition& each : plan.transitions())
        out.push_back({each.step, each.group, each.kind, each.keeps_state});
    return out;
}

TEST(Transitions, OneStageThawsAtItsStart) {
    PlanConfig config;
    config.policy = {.kind = PolicyKind::two_part, .backbone_multiplier = 0.0};
    EXPECT_EQ(events(make_plan(resnet18_manifest(), config)), (std::vector<Event>{{0, 1, Kind::thaw, false}}));
}

TEST(Transitions, AFirstThawHasNoStateToKeep) {
    EXPECT_EQ(events(two_part("h*", OnUnfreeze::keep)),
              (std::vector<Event>{{0, 1, Kind::thaw, false}, {10, 0, Kind::thaw, false}}));
}

TEST(Transitions, KeepHoldsStateOnlyForALaterThaw) {
    const Plan plan = two_part("*h*h", OnUnfreeze::keep);
    EXPECT_EQ(events(plan), (std::vector<Event>{{0, 0, Kind::thaw, false},
                                                {0, 1, Kind::thaw, false},
                                                {10, 0, Kind::freeze, true},
                                                {20, 0, Kind::thaw, true},
                                                {30, 0, Kind::freeze, false}}));
    EXPECT_TRUE(plan.holds_state(0, 0));
    EXPECT_TRUE(plan.holds_state(0, 15));
    EXPECT_FALSE(plan.holds_state(0, 35));
    EXPECT_TRUE(plan.holds_state(1, 35));
}

TEST(Transitions, KeepSpansSeveralFrozenStages) {
    const Plan plan = two_part("bhh*", OnUnfreeze::keep);
    EXPECT_EQ(events(plan), (std::vector<Event>{{0, 0, Kind::thaw, false},
                                                {10, 0, Kind::freeze, true},
                                                {10, 1, Kind::thaw, false},
                                                {30, 0, Kind::thaw, true}}));
    EXPECT_TRUE(plan.holds_state(0, 10));
    EXPECT_TRUE(plan.holds_state(0, 29));
    EXPECT_FALSE(plan.holds_state(1, 9));
}

TEST(Transitions, ResetDropsStateAtTheFreeze) {
    const Plan plan = two_part("*h*", OnUnfreeze::reset);
    EXPECT_EQ(events(plan), (std::vector<Event>{{0, 0, Kind::thaw, false},
                                                {0, 1, Kind::thaw, false},
                                                {10, 0, Kind::freeze, false},
                                                {20, 0, Kind::thaw, false}}));
    EXPECT_FALSE(plan.holds_state(0, 15));
}

TEST(Transitions, ResetAllBeginsEveryGroupAnew) {
    EXPECT_EQ(events(two_part("h**", OnUnfreeze::reset_all)), (std::vector<Event>{{0, 1, Kind::thaw, false},
                                                                                  {10, 0, Kind::thaw, false},
                                                                                  {10, 1, Kind::reset, false},
                                                                                  {20, 0, Kind::reset, false},
                                                                                  {20, 1, Kind::reset, false}}));
}

TEST(Transitions, ResetAllForgetsWhatAFrozenGroupKept) {
    Plan plan = two_part("*h*", OnUnfreeze::keep);
    plan.stages[1].on_unfreeze = OnUnfreeze::reset_all;
    EXPECT_EQ(events(plan)[2], (Event{10, 0, Kind::freeze, false}));
    EXPECT_FALSE(plan.holds_state(0, 15));
}

TEST(Costs, FollowWhatIsLive) {
    const Plan plan = two_part("h*h*", OnUnfreeze::keep, 3);
    const std::int64_t head = 4 * padded_elements(plan.groups[1].elements, 3);
    const std::int64_t both = head + 4 * padded_elements(plan.groups[0].elements, 3);
    std::int64_t state_of_head = 0;
    for (int rank = 0; rank < 3; ++rank) {
        for (const std::int64_t step : {0, 10, 20, 30}) {
            const RankMemory memory = memory_per_rank(plan, rank, step);
            EXPECT_EQ(memory.parameter_bytes, both);
            EXPECT_EQ(memory.gradient_bytes, step == 10 || step == 30 ? both : head);
            // State is there from the first thaw to the last use of it.
            if (step == 0) state_of_head += memory.state_bytes;
            if (step >= 10) {
                EXPECT_EQ(memory.state_bytes, memory_per_rank(plan, rank, 10).state_bytes);
            }
            EXPECT_EQ(memory.sum(), memory.parameter_bytes + memory.gradient_bytes + memory.state_bytes);
        }
    }
    EXPECT_EQ(state_of_head, 8 * plan.groups[1].elements);
    EXPECT_EQ(traffic_per_step(plan, 0).reduce_bytes, head * 2 / 3);
    EXPECT_EQ(traffic_per_step(plan, 0).gather_bytes, head * 2 / 3);
    EXPECT_EQ(traffic_per_step(plan, 10).sum(), 2 * both * 2 / 3);
    EXPECT_EQ(traffic_per_step(two_part("h", OnUnfreeze::keep, 1), 0).sum(), 0);
}

}  // namespace
}  // namespace strata::optim
