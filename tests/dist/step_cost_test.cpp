// The group is never the unit of cost: what a step asks of the network, of the processor and of the host follows bytes,
// whether a model is one group or 465.
#include <gtest/gtest.h>

#include "dist/mpi_communicator.h"
#include "dist/zero_optimizer.h"
#include "tests/dist/call_counts.h"
#include "tests/dist/plan_support.h"

namespace strata::dist {
namespace {

using testing::call_counts;
using testing::CallCounts;
using testing::make_parameters;
using testing::make_test_plan;
using testing::TestGroup;

/// In whole slices for 1, 2 and 4 ranks however it is divided below.
constexpr std::int64_t elements = 6510 * 256;
constexpr std::int64_t piece_bytes = 350'000;
constexpr std::int64_t pieces = 20;
static_assert((elements * 4 + piece_bytes - 1) / piece_bytes == pieces);

struct Cost {
    TrafficCounters traffic;
    CallCounts calls;
};

class StepCost : public ::testing::TestWithParam<std::tuple<optim::OptimizerKind, bool>> {
  protected:
    /// Of the second step: the first may set things up.
    Cost of_groups(int count) {
        std::vector<TestGroup> groups;
        for (int i = 0; i < count; ++i) {
            const std::string name = "p" + std::to_string(i);
            groups.push_back({name, 1.0, {{name, {elements / count}}}});
        }
        optim::OptimizerConfig optimizer;
        optimizer.kind = std::get<0>(GetParam());
        const optim::Plan plan = make_test_plan(groups, communicator_.size(), optimizer);
        GroupStorage storage(plan, make_parameters(groups), communicator_.rank());
        ZeroOptimizer zero(plan, storage, communicator_, {.reduce_bytes = piece_bytes, .gather_bytes = piece_bytes});
        zero.step({0, 1.0, 0.0, std::get<1>(GetParam())});
        const CallCounts before = call_counts();
        const StepReport report = zero.step({1, 1.0, 0.0, std::get<1>(GetParam())});
        return {report.traffic, call_counts() - before};
    }

    MpiCommunicator communicator_;
};

TEST_P(StepCost, IsThatOfOneGroupHoweverManyThereAre) {
    const auto [kind, telemetry] = GetParam();
    const bool lamb = kind == optim::OptimizerKind::lamb;
    const std::int64_t small = 1 + (lamb ? 1 : 0) + (telemetry ? 1 : 0);  // all-reduces of norms
    // Each piece's reduction is a message to and one from every other rank; gathers are MPI's own, and one rank needs
    // none.
    const std::int64_t gathers = communicator_.size() > 1 ? pieces : 0;
    const std::int64_t messages = pieces * 2 * (communicator_.size() - 1);
    const Cost one = of_groups(1);
    EXPECT_EQ(one.traffic.all_reduce.calls, small);
    EXPECT_EQ(one.traffic.reduce_scatter.calls, pieces);
    EXPECT_EQ(one.traffic.all_gather.calls, pieces);
    // Threads pass over the slices together, and over each piece that others have sent.
    const std::int64_t passes = (lamb ? 3 : 2) + (communicator_.size() > 1 ? pieces : 0);
    EXPECT_EQ(one.calls, (CallCounts{messages, gathers + small, messages + gathers + small, passes}));
    for (const int count : {14, 62, 465}) {
        const Cost many = of_groups(count);
        EXPECT_EQ(many.calls, one.calls) << count << " groups";
        EXPECT_EQ(many.traffic.calls(), one.traffic.calls()) << count << " groups";
        EXPECT_EQ(many.traffic.all_gather.bytes, one.traffic.all_gather.bytes) << count << " groups";
    }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, StepCost,
                         ::testing::Combine(::testing::Values(optim::OptimizerKind::adamw, optim::OptimizerKind::adam,
                                                              optim::OptimizerKind::sgd, optim::OptimizerKind::lamb),
                                            ::testing::Bool()),
                         [](const auto& kind) {
                             return std::string(optim::optimizer_name(std::get<0>(kind.param))) +
                                    (std::get<1>(kind.param) ? "_with_telemetry" : "");
                         });

}  // namespace
}  // namespace strata::dist
