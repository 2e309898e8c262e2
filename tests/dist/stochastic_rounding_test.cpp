// Training in bf16 without masters: what is kept, what it costs, and that neither ranks, copies nor groups change a
// bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "dist/mpi_communicator.h"
#include "dist/zero_optimizer.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using optim::OptimizerKind;
using testing::awkward_groups;
using testing::bits_of;
using testing::make_parameters;
using testing::make_test_plan;
using testing::staged_plan;
using testing::TestGroup;
using testing::Training;

optim::Plan rounding(optim::Plan plan) {
    plan.compute = optim::ComputeType::bf16;
    plan.rounding_seed = 42;
    return plan;
}

optim::Plan deterministic(optim::Plan plan) {
    plan.deterministic = true;
    plan.zero_stage = 2;
    plan.micro_batches = (Training::fixed_shares + plan.world_size - 1) / plan.world_size;
    return plan;
}

optim::OptimizerConfig optimizer_of(OptimizerKind kind) {
    optim::OptimizerConfig config;
    config.kind = kind;
    config.weight_decay = 0.1;
    if (kind == OptimizerKind::sgd) config.momentum = 0.9;
    return config;
}

/// A group's parameters, one after another, in double.
torch::Tensor content(const Training& run, const TestGroup& group) {
    std::vector<torch::Tensor> flat;
    for (const auto& parameter : group.parameters) flat.push_back(run.model.at(parameter.name).detach().reshape(-1));
    return torch::cat(flat).to(torch::kFloat64);
}

class StochasticRounding : public ::testing::TestWithParam<OptimizerKind> {
  protected:
    int ranks() const { return communicator_.size(); }

    optim::Plan plan(int with, const std::vector<TestGroup>& groups = awkward_groups()) const {
        return rounding(make_test_plan(groups, with, optimizer_of(GetParam())));
    }

    void expect_same_everywhere(const Training& run) {
        const std::string bits = bits_of(run.model.parameters());
        EXPECT_THAT(communicator_.all_gather_bytes(bits), ::testing::Each(bits)) << "ranks differ";
    }

    MpiCommunicator communicator_;
};

TEST_P(StochasticRounding, KeepsWhatTheNetworkComputesWith) {
    Training run(awkward_groups(), plan(ranks()), communicator_);
    const NamedParameters start = make_parameters(run.groups);
    for (std::size_t i = 0; i < start.size(); ++i)
        EXPECT_EQ(bits_of(start[i].second.to(torch::kBFloat16)), bits_of(run.model.parameters()[i].second));
    for (std::int64_t step = 0; step < 5; ++step) EXPECT_FALSE(run.train(step, 1.0).skipped);
    const NamedParameters full = run.zero.full_parameters(run.model.parameters());
    for (std::size_t i = 0; i < full.size(); ++i) {
        const torch::Tensor& parameter = run.model.parameters()[i].second;
        EXPECT_EQ(bits_of(full[i].second), bits_of(parameter.to(torch::kFloat32))) << full[i].first;
        const bool frozen = full[i].first.starts_with("kept.");
        EXPECT_EQ(bits_of(parameter) == bits_of(start[i].second.to(torch::kBFloat16)), frozen) << full[i].first;
    }
    for (std::size_t g = 0; g < run.storage.groups(); ++g) EXPECT_EQ(run.storage.buffers(g).param, nullptr);
    expect_same_everywhere(run);
    run.storage.set_values(full);
    run.zero.gather_parameters();
    EXPECT_EQ(bits_of(run.zero.full_parameters(run.model.parameters())), bits_of(full)) << "there and back";
}

TEST_P(StochasticRounding, HasTheSameBitsOnAnyNumberOfRanks) {
    MpiCommunicator alone(MPI_COMM_SELF);
    std::vector<TestGroup> groups = awkward_groups();
    groups[0].parameters[0].shape[0] = 2400;  // words: five tiles, so that every rank has a slice
    Training together(groups, deterministic(plan(ranks(), groups)), communicator_);
    Training single(groups, deterministic(plan(1, groups)), alone);
    for (std::int64_t step = 0; step < 5; ++step) {
        EXPECT_EQ(together.train(step, 1.0).grad_norm, single.train(step, 1.0).grad_norm);
        ASSERT_EQ(bits_of(together.model.parameters()), bits_of(single.model.parameters())) << "step " << step;
    }
}

TEST_P(StochasticRounding, HasTheSameBitsInOtherGroups) {
    if (GetParam() == OptimizerKind::lamb) GTEST_SKIP() << "tensors' norms are sums over tiles, which begin elsewhere";
    std::vector<TestGroup> apart = awkward_groups();
    TestGroup joined{"all", 1.0, {}};
    for (TestGroup& group : apart) {
        group.multiplier = 1.0;
        joined.parameters.insert(joined.parameters.end(), group.parameters.begin(), group.parameters.end());
    }
    Training one(apart, deterministic(plan(ranks(), apart)), communicator_);
    Training other({joined}, deterministic(plan(ranks(), {joined})), communicator_);
    for (std::int64_t step = 0; step < 5; ++step) {
        one.train(step);
        other.train(step);
        ASSERT_EQ(bits_of(one.model.parameters()), bits_of(other.model.parameters())) << "step " << step;
    }
}

TEST_P(StochasticRounding, AnotherSeedRoundsOtherwise) {
    Training one(awkward_groups(), plan(ranks()), communicator_);
    optim::Plan seeded = plan(ranks());
    seeded.rounding_seed = 43;
    Training other(awkward_groups(), seeded, communicator_);
    one.train(0);
    other.train(0);
    EXPECT_NE(bits_of(one.model.parameters()), bits_of(other.model.parameters()));
}

TEST_P(StochasticRounding, CopiesOfTheStateMakeOneUpdate) {
    for (int owners = 1; owners <= ranks(); ++owners) {
        if (ranks() % owners != 0) continue;
        for (const int stage : {1, 2}) {
            optim::Plan made = plan(ranks());
            made.replicas = ranks() / owners;
            made.zero_stage = stage;
            Training run(awkward_groups(), made, ShardRanks::by_block(communicator_, owners));
            for (std::int64_t step = 0; step < 5; ++step) run.train(step, 1.0);
            expect_same_everywhere(run);
        }
    }
}

TEST_P(StochasticRounding, CostsWhatThePlanSaysAndNoMasters) {
    for (const auto& [stage, micro_batches] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}}) {
        optim::Plan made = plan(ranks());
        made.zero_stage = stage;
        made.micro_batches = micro_batches;
        Training run(awkward_groups(), made, communicator_);
        const StepReport report = run.train(0);
        const optim::StepTraffic traffic = traffic_per_step(run.plan, 0);
        EXPECT_EQ(report.traffic.reduce_scatter.bytes, traffic.reduce_bytes) << "stage " << stage;
        EXPECT_EQ(report.traffic.all_gather.bytes, traffic.gather_bytes) << "stage " << stage;
        const optim::RankMemory planned = memory_per_rank(run.plan, communicator_.rank(), 0);
        EXPECT_EQ(run.storage.memory().parameter_bytes, planned.parameter_bytes);
        EXPECT_EQ(run.storage.memory().gradient_bytes, planned.gradient_bytes);
        EXPECT_EQ(run.storage.memory().state_bytes, planned.state_bytes);
        std::int64_t live = 0;
        for (std::size_t g = 0; g < run.storage.groups(); ++g)
            live += run.storage.live(g) ? run.storage.slice(g).size() : 0;
        EXPECT_EQ(planned.state_bytes, 4 * optim::state_tensors(made.optimizer) * live);
    }
}

TEST_P(StochasticRounding, TelemetryIsOfWhatIsStoredWhateverIsFrozenOrSkipped) {
    Training run(awkward_groups(),
                 rounding(staged_plan(awkward_groups(), ranks(), optim::OnUnfreeze::keep, GetParam())), communicator_);
    for (std::int64_t step = 0; step < testing::staged_steps; ++step) {
        run.storage.enter(step);
        run.storage.zero_gradients();
        std::vector<torch::Tensor> before;
        for (const TestGroup& group : run.groups) before.push_back(content(run, group));
        const std::string bits = bits_of(run.model.parameters());
        const bool skip = step % 4 == 3;
        const torch::Tensor loss = run.model.loss(communicator_.rank(), ranks());
        run.zero.backward(loss, true);
        StepInput input{.step = step, .max_grad_norm = 1.0, .loss = loss.item<double>(), .telemetry = true};
        if (skip) input.loss = std::numeric_limits<double>::quiet_NaN();
        const StepReport report = run.zero.step(input);
        ASSERT_EQ(report.skipped, skip);
        EXPECT_EQ(bits_of(run.model.parameters()) == bits, skip) << "step " << step;
        for (std::size_t g = 0; g < run.groups.size(); ++g) {
            const torch::Tensor after = content(run, run.groups[g]);
            const double norm = after.norm().item<double>();
            const double ratio = (after - before[g]).norm().item<double>() / norm;
            EXPECT_NEAR(report.group_weight_norms[g], norm, 1e-9 * norm) << run.groups[g].name << ", step " << step;
            EXPECT_NEAR(report.group_update_ratios[g], ratio, 1e-9 * ratio) << run.groups[g].name;
            EXPECT_TRUE(run.storage.live(g) || ratio == 0.0) << "frozen";
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, StochasticRounding,
                         ::testing::Values(OptimizerKind::adamw, OptimizerKind::sgd, OptimizerKind::lamb),
                         [](const auto& kind) { return std::string(optim::optimizer_name(kind.param)); });

}  // namespace
}  // namespace strata::dist
