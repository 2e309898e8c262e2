// Weight norms and update ratios of groups against those of the parameters before and after, on any number of ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dist/mpi_communicator.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::make_test_plan;
using testing::staged_plan;
using testing::TestGroup;
using testing::Training;

/// A group's parameters, one after another, in double.
torch::Tensor content(const Training& run, const TestGroup& group) {
    std::vector<torch::Tensor> flat;
    for (const auto& parameter : group.parameters) flat.push_back(run.model.at(parameter.name).detach().reshape(-1));
    return torch::cat(flat).to(torch::kFloat64);
}

std::vector<torch::Tensor> contents(const Training& run) {
    std::vector<torch::Tensor> all;
    for (const TestGroup& group : run.groups) all.push_back(content(run, group));
    return all;
}

/// What the report says against torch's norms of what was there before and is there now.
void expect_norms(const Training& run, const StepReport& report, const std::vector<torch::Tensor>& before) {
    ASSERT_EQ(report.group_weight_norms.size(), run.groups.size());
    ASSERT_EQ(report.group_update_ratios.size(), run.groups.size());
    for (std::size_t g = 0; g < run.groups.size(); ++g) {
        const torch::Tensor after = content(run, run.groups[g]);
        const double norm = after.norm().item<double>();
        const double ratio = (after - before[g]).norm().item<double>() / norm;
        EXPECT_NEAR(report.group_weight_norms[g], norm, 1e-6 * norm) << run.groups[g].name;
        EXPECT_NEAR(report.group_update_ratios[g], ratio, 1e-6 * ratio) << run.groups[g].name;
        EXPECT_EQ(report.group_update_ratios[g] > 0.0, run.storage.live(g) && !report.skipped) << run.groups[g].name;
    }
}

StepReport train(Training& run, std::int64_t step) {
    run.storage.enter(step);
    run.storage.zero_gradients();
    const auto loss = run.model.loss(run.communicator.rank(), run.communicator.size());
    loss.backward();
    return run.zero.step({step, 1.0, loss.item<double>(), true});
}

class Telemetry : public ::testing::TestWithParam<optim::OptimizerKind> {
  protected:
    Training staged(const std::vector<TestGroup>& groups) {
        return {groups, staged_plan(groups, communicator_.size(), optim::OnUnfreeze::keep, GetParam()), communicator_};
    }
    MpiCommunicator communicator_;
};

TEST_P(Telemetry, IsTheNormsOfTheParametersWhateverIsFrozen) {
    Training run = staged(awkward_groups());
    for (std::int64_t step = 0; step < testing::staged_steps; ++step) {
        run.storage.enter(step);
        const auto before = contents(run);
        SCOPED_TRACE("step " + std::to_string(step));
        expect_norms(run, train(run, step), before);
    }
}

TEST_P(Telemetry, ChangesNoBitOfTheUpdate) {
    Training measured = staged(awkward_groups());
    Training plain = staged(awkward_groups());
    for (std::int64_t step = 0; step < 3; ++step) {
        train(measured, step);
        EXPECT_TRUE(plain.train(step, 1.0).group_weight_norms.empty());
    }
    EXPECT_TRUE(bits_of(measured.model.parameters()) == bits_of(plain.model.parameters()));
}

TEST_P(Telemetry, ASkippedUpdateChangedNothingAndWeightsAreStillThere) {
    Training run = staged(awkward_groups());
    train(run, 0);
    const auto before = contents(run);
    run.model.at("head.bias").grad().fill_(std::numeric_limits<float>::quiet_NaN());
    const StepReport report = run.zero.step({1, 1.0, 0.0, true});
    ASSERT_TRUE(report.skipped);
    expect_norms(run, report, before);
    EXPECT_THAT(report.group_update_ratios, ::testing::Each(0.0));
}

TEST_P(Telemetry, CostsOneSmallCallWhereItIsAskedForAndNoneElsewhere) {
    Training run = staged(awkward_groups());
    const TrafficCounters plain = run.train(0, 1.0).traffic;
    const TrafficCounters measured = train(run, 1).traffic - plain;
    EXPECT_EQ(measured.calls(), 1);
    const std::int64_t n = communicator_.size();
    const auto doubles = 2 * static_cast<std::int64_t>(run.groups.size());
    EXPECT_EQ(measured.bytes(), 2 * doubles * 8 * (n - 1) / n);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Telemetry,
                         ::testing::Values(optim::OptimizerKind::adamw, optim::OptimizerKind::adam,
                                           optim::OptimizerKind::sgd, optim::OptimizerKind::lamb),
                         [](const auto& kind) { return std::string(optim::optimizer_name(kind.param)); });

TEST(TelemetryOfZeros, AGroupThatIsAllZeroHasNoRatio) {
    MpiCommunicator communicator;
    const std::vector<TestGroup> groups = {{"zeros", 1.0, {{"p", {10}}}}};
    const optim::Plan plan = make_test_plan(groups, communicator.size());
    GroupStorage storage(plan, {{"p", torch::zeros({10}).set_requires_grad(true)}}, communicator.rank());
    ZeroOptimizer zero(plan, storage, communicator);
    const StepReport report = zero.step({0, 1.0, 0.0, true});
    EXPECT_EQ(report.group_weight_norms[0], 0.0);
    EXPECT_EQ(report.group_update_ratios[0], 0.0);
}

/// Loading a checkpoint changes the parameters of frozen groups too.
TEST(TelemetryOfLoaded, FrozenWeightsAreWeighedAnewAfterAGather) {
    MpiCommunicator communicator;
    Training run(awkward_groups(), communicator);
    train(run, 0);
    for (float& value : run.storage.parameters(1)) value *= 2;
    run.zero.gather_parameters();
    const auto before = contents(run);
    expect_norms(run, train(run, 1), before);
}

}  // namespace
}  // namespace strata::dist
