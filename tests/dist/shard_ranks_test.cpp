// A copy of the optimizer state in each of several blocks of ranks, against one copy over all ranks and one rank.
#include "dist/shard_ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "dist/mpi_communicator.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::distance;
using testing::in_stage_two;
using testing::make_test_plan;
using testing::staged_plan;
using testing::Training;

/// Small enough that every group but the smallest is cut, and several leave in one bucket.
const ZeroOptions small_buckets{.reduce_bytes = 1000, .gather_bytes = 1000};

class Sharded : public ::testing::Test {
  protected:
    Sharded() {
        for (int owners = 1; owners <= communicator_.size(); ++owners) {
            if (communicator_.size() % owners == 0) blocks_.push_back(owners);
        }
    }

    optim::Plan copied(optim::Plan plan, int owners) const {
        plan.replicas = plan.world_size / owners;
        return plan;
    }
    ShardRanks block(int owners) { return ShardRanks::by_block(communicator_, owners); }

    void expect_same_everywhere(const Training& run) {
        const std::string bits = bits_of(run.model.parameters());
        for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
    }

    /// What a step has sent, and the rank holds, are what the plan says.
    void expect_costs(const Training& run, const StepReport& report) {
        const optim::StepTraffic planned = optim::traffic_per_step(run.plan, 0);
        // Every bucket's bytes are rounded down by themselves.
        const auto near = [](std::int64_t bytes) { return ::testing::DoubleNear(static_cast<double>(bytes), 64.0); };
        EXPECT_THAT(static_cast<double>(report.traffic.reduce_scatter.bytes), near(planned.reduce_bytes));
        EXPECT_THAT(static_cast<double>(report.traffic.all_gather.bytes), near(planned.gather_bytes));
        EXPECT_THAT(static_cast<double>(report.across.bytes), near(planned.across_bytes));
        EXPECT_EQ(report.across.calls > 0, run.plan.replicas > 1);
        const optim::RankMemory held = run.storage.memory();
        const optim::RankMemory memory = optim::memory_per_rank(run.plan, communicator_.rank() % run.plan.owners(), 0);
        EXPECT_EQ(held.parameter_bytes, memory.parameter_bytes);
        EXPECT_EQ(held.gradient_bytes, memory.gradient_bytes);
        EXPECT_EQ(held.state_bytes, memory.state_bytes);
    }

    MpiCommunicator communicator_;
    std::vector<int> blocks_;  // all sizes that the ranks can be cut into
    std::vector<testing::TestGroup> groups_ = awkward_groups();
};

TEST_F(Sharded, RanksAreOwnersAndCopies) {
    for (const int owners : blocks_) {
        const ShardRanks ranks = block(owners);
        EXPECT_EQ(ranks.owner(), communicator_.rank() % owners);
        EXPECT_EQ(ranks.copy(), communicator_.rank() / owners);
        EXPECT_EQ(ranks.owners().size(), owners);
        EXPECT_EQ(ranks.copy_count(), communicator_.size() / owners);
        EXPECT_EQ(ranks.copies() == nullptr, owners == communicator_.size());
        EXPECT_EQ(&ranks.owners().activity(), &communicator_.activity())
            << "waits are the rank's, whoever it waits for";
    }
    const ShardRanks all(communicator_);
    EXPECT_EQ(&all.owners(), &communicator_);
    EXPECT_EQ(all.copies(), nullptr);
}

TEST_F(Sharded, OneHostIsOneCopy) {
    EXPECT_EQ(ranks_of_each_host(communicator_), communicator_.size());
    const ShardRanks ranks = ShardRanks::by_host(communicator_);
    EXPECT_EQ(ranks.copy_count(), 1);
    EXPECT_EQ(ranks.owner(), communicator_.rank());
}

class ShardedUpdate : public Sharded, public ::testing::WithParamInterface<std::tuple<optim::OptimizerKind, int>> {
  protected:
    optim::Plan plan(int ranks, int micro_batches) const {
        const auto [kind, stage] = GetParam();
        optim::OptimizerConfig config;
        config.kind = kind;
        config.weight_decay = 0.1;
        if (kind == optim::OptimizerKind::sgd) config.momentum = 0.9;
        optim::Plan made = make_test_plan(groups_, ranks, config);
        made.zero_stage = stage;
        made.micro_batches = micro_batches;
        return made;
    }
    int stage() const { return std::get<1>(GetParam()); }
};

TEST_P(ShardedUpdate, EqualsOneCopyAndOneRank) {
    MpiCommunicator alone(MPI_COMM_SELF);
    for (const int micro_batches : {1, 2}) {
        Training single(groups_, plan(1, 1), alone);
        Training all(groups_, plan(communicator_.size(), micro_batches), communicator_, small_buckets);
        std::vector<std::unique_ptr<Training>> runs;
        for (const int owners : blocks_) {
            for (const ZeroOptions& options : {small_buckets, ZeroOptions{}}) {
                runs.push_back(std::make_unique<Training>(
                    groups_, copied(plan(communicator_.size(), micro_batches), owners), block(owners), options));
            }
        }
        for (std::int64_t step = 0; step < 10; ++step) {
            const StepReport expected = single.train(step, 1.0);
            all.train(step, 1.0);
            for (const auto& run : runs) {
                const StepReport report = run->train(step, 1.0);
                EXPECT_NEAR(report.loss, expected.loss, 1e-5 * expected.loss) << run->plan.replicas << " copies";
                EXPECT_NEAR(report.grad_norm, expected.grad_norm, 1e-5 * expected.grad_norm);
            }
        }
        for (const auto& run : runs) {
            EXPECT_LT(distance(run->model.parameters(), all.model.parameters()), 1e-5) << run->plan.replicas;
            EXPECT_LT(distance(run->model.parameters(), single.model.parameters()), 1e-5) << run->plan.replicas;
            expect_same_everywhere(*run);
        }
    }
}

TEST_P(ShardedUpdate, WhatLeavesEarlyHasTheSameBits) {
    for (const int owners : blocks_) {
        const optim::Plan made = copied(plan(communicator_.size(), 2), owners);
        ZeroOptions late = small_buckets;
        late.overlap = false;
        Training early_run(groups_, made, block(owners), small_buckets);
        Training late_run(groups_, made, block(owners), late);
        for (std::int64_t step = 0; step < 5; ++step) {
            EXPECT_GT(early_run.train(step).reductions_in_backward, 1);
            EXPECT_EQ(late_run.train(step).reductions_in_backward, 0);
        }
        EXPECT_TRUE(bits_of(early_run.model.parameters()) == bits_of(late_run.model.parameters()));
    }
}

TEST_P(ShardedUpdate, SendsAndHoldsWhatThePlanSays) {
    for (const int owners : blocks_) {
        const optim::Plan made = copied(plan(communicator_.size(), 3), owners);
        Training run(groups_, made, block(owners), small_buckets);
        expect_costs(run, run.train(0));
    }
}

TEST_P(ShardedUpdate, TelemetryIsThatOfOneCopy) {
    Training all(groups_, plan(communicator_.size(), 1), communicator_);
    all.storage.enter(0);
    const auto measured = [&](Training& run) {
        run.train(0);
        run.storage.zero_gradients();
        const torch::Tensor loss = run.model.loss(communicator_.rank(), communicator_.size());
        const double value = loss.item<double>();
        run.zero.backward(loss, true);
        return run.zero.step({.step = 1, .loss = value, .telemetry = true});
    };
    const StepReport expected = measured(all);
    for (const int owners : blocks_) {
        Training run(groups_, copied(plan(communicator_.size(), 1), owners), block(owners));
        const StepReport report = measured(run);
        for (std::size_t g = 0; g < groups_.size(); ++g) {
            EXPECT_NEAR(report.group_weight_norms[g], expected.group_weight_norms[g], 1e-5);
            EXPECT_NEAR(report.group_update_ratios[g], expected.group_update_ratios[g], 1e-5);
            EXPECT_NEAR(report.group_grad_norms[g], expected.group_grad_norms[g], 1e-5);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, ShardedUpdate,
                         ::testing::Combine(::testing::Values(optim::OptimizerKind::adamw, optim::OptimizerKind::sgd,
                                                              optim::OptimizerKind::lamb),
                                            ::testing::Values(1, 2)),
                         [](const auto& kind) {
                             return std::string(optim::optimizer_name(std::get<0>(kind.param))) + "_stage_" +
                                    std::to_string(std::get<1>(kind.param));
                         });

/// In 16 bits: type, stage and micro-batches.
class ShardedPrecision : public Sharded,
                         public ::testing::WithParamInterface<std::tuple<optim::ComputeType, int, int>> {
  protected:
    optim::Plan plan(int owners) const {
        optim::OptimizerConfig config;
        config.weight_decay = 0.1;
        optim::Plan made = copied(make_test_plan(groups_, communicator_.size(), config), owners);
        std::tie(made.compute, made.zero_stage, made.micro_batches) = GetParam();
        return made;
    }
    std::unique_ptr<Training> training(const optim::Plan& made, ZeroOptions options = small_buckets) {
        auto run = std::make_unique<Training>(groups_, made, block(made.owners()), options);
        if (run->zero.loss_scale()) run->zero.set_loss_scale({1024.0F});
        return run;
    }
    static NamedParameters masters(Training& run) { return run.zero.full_parameters(run.model.parameters()); }
};

TEST_P(ShardedPrecision, EqualsOneCopy) {
    const auto all = training(plan(communicator_.size()));
    std::vector<std::unique_ptr<Training>> runs;
    for (const int owners : blocks_) runs.push_back(training(plan(owners)));
    for (std::int64_t step = 0; step < 10; ++step) {
        const StepReport expected = all->train(step, 1.0);
        for (const auto& run : runs) {
            const StepReport report = run->train(step, 1.0);
            EXPECT_FALSE(report.skipped);
            EXPECT_NEAR(report.loss, expected.loss, 3e-4 * expected.loss) << run->plan.replicas << " copies";
            EXPECT_NEAR(report.grad_norm, expected.grad_norm, 4e-3 * expected.grad_norm);
        }
    }
    for (const auto& run : runs) {
        // As near as in precision_test.cpp: one copy's sums are rounded to 16 bits where the plan keeps none.
        EXPECT_LT(distance(masters(*run), masters(*all)), 5e-4) << run->plan.replicas;
        expect_same_everywhere(*run);
        const std::string bits = bits_of(masters(*run));
        EXPECT_THAT(communicator_.all_gather_bytes(bits), ::testing::Each(bits)) << "copies of the masters differ";
    }
}

TEST_P(ShardedPrecision, SumsAreFp32InWhicheverStage) {
    for (const int owners : blocks_) {
        optim::Plan one = plan(owners), two = plan(owners);
        one.zero_stage = 1;
        two.zero_stage = 2;
        one.micro_batches = two.micro_batches = 1;
        if (!one.keeps_sums()) continue;  // one copy
        const auto a = training(one), b = training(two);
        for (std::int64_t step = 0; step < 5; ++step) EXPECT_EQ(a->train(step).grad_norm, b->train(step).grad_norm);
        EXPECT_TRUE(bits_of(masters(*a)) == bits_of(masters(*b)));
    }
}

TEST_P(ShardedPrecision, WhatLeavesEarlyHasTheSameBits) {
    for (const int owners : blocks_) {
        ZeroOptions late = small_buckets;
        late.overlap = false;
        const auto early_run = training(plan(owners)), late_run = training(plan(owners), late);
        for (std::int64_t step = 0; step < 5; ++step) {
            EXPECT_GT(early_run->train(step).reductions_in_backward, 1);
            EXPECT_EQ(late_run->train(step).reductions_in_backward, 0);
        }
        EXPECT_TRUE(bits_of(masters(*early_run)) == bits_of(masters(*late_run)));
    }
}

TEST_P(ShardedPrecision, SendsAndHoldsWhatThePlanSays) {
    for (const int owners : blocks_) {
        const auto run = training(plan(owners));
        expect_costs(*run, run->train(0));
    }
}

std::string name_of_case(const ::testing::TestParamInfo<ShardedPrecision::ParamType>& each) {
    const auto [type, stage, micro_batches] = each.param;
    return std::string(optim::name_of(type)) + "_stage_" + std::to_string(stage) + "_of_" +
           std::to_string(micro_batches);
}

INSTANTIATE_TEST_SUITE_P(Types, ShardedPrecision,
                         ::testing::Combine(::testing::Values(optim::ComputeType::bf16, optim::ComputeType::fp16),
                                            ::testing::Values(1, 2), ::testing::Values(1, 2)),
                         name_of_case);

TEST_F(Sharded, StagesThawAndFreezeAsWithOneCopy) {
    for (const int stage : {1, 2}) {
        for (const int owners : blocks_) {
            optim::Plan made = staged_plan(groups_, communicator_.size());
            made.zero_stage = stage;
            Training all(groups_, made, communicator_);
            Training run(groups_, copied(made, owners), block(owners), small_buckets);
            for (std::int64_t step = 0; step < testing::staged_steps; ++step) {
                const double expected = all.train(step).loss;
                EXPECT_NEAR(run.train(step).loss, expected, 1e-5 * expected) << "step " << step;
            }
            EXPECT_LT(distance(run.model.parameters(), all.model.parameters()), 1e-5);
            expect_same_everywhere(run);
        }
    }
}

TEST_F(Sharded, OneGradientThatIsNotFiniteSkipsTheUpdateOfEveryCopy) {
    for (const int owners : blocks_) {
        Training run(groups_, copied(make_test_plan(groups_, communicator_.size()), owners), block(owners));
        run.train(0);
        const std::string before = bits_of(run.model.parameters());
        run.storage.zero_gradients();
        if (communicator_.rank() == communicator_.size() - 1) {
            run.model.at("head.bias").grad()[1] = std::numeric_limits<float>::infinity();
        }
        EXPECT_TRUE(run.zero.step({1, 1.0, 0.5}).skipped);
        EXPECT_TRUE(bits_of(run.model.parameters()) == before);
    }
}

}  // namespace
}  // namespace strata::dist
