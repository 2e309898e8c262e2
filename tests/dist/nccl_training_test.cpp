// Training whose arenas lie on a GPU, over NCCL, both stand-ins, against the same over MPI: what reaches the network,
// the passes and the collectives, in which order. Forward and backward run on the host here, so each step first waits
// for the stream, which a GPU would not have to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dist/mpi_communicator.h"
#include "nccl_backends.h"
#include "nccl_stand_in.h"
#include "optim/cuda_handles.h"
#include "tests/optim/update_twins.h"
#include "tests/support/torch_in_stream.h"
#include "training_support.h"

namespace strata::dist::testing {
namespace {

const bool twins_added = (optim::testing::add_update_twins(), true);

class NcclTraining : public ::testing::TestWithParam<optim::OptimizerKind> {
  protected:
    static optim::OptimizerConfig optimizer() {
        optim::OptimizerConfig config;
        config.kind = GetParam();
        config.weight_decay = 0.1;
        return config;
    }
    static NcclOptions ordered() {
        NcclOptions options;
        options.ordered_sums = true;
        return options;
    }
    /// Small buckets, so that there are several of each kind, with pieces of several groups.
    static ZeroOptions buckets() { return {.reduce_bytes = 1024, .gather_bytes = 2048}; }

    optim::Plan plan(int ranks) const { return make_test_plan(awkward_groups(), ranks, optimizer()); }

    StepReport train_on_gpu(Training& training, std::int64_t step, double max_norm, StepExtras extras = {}) {
        optim::wait_for(nullptr);
        StepReport report = training.train(step, max_norm, extras);
        optim::wait_for(nullptr);
        return report;
    }

    MpiCommunicator mpi_;
    NcclBackend gpu_{nccl_stand_in(), ordered()};
    Training on_cpu_{awkward_groups(), plan(mpi_.size()), mpi_, buckets()};
    Training on_gpu_{awkward_groups(), plan(mpi_.size()), gpu_.communicator(), buckets(), Memory::cuda};
};

TEST_P(NcclTraining, GivesTheBitsOfTheCpu) {
    if (GetParam() == optim::OptimizerKind::lamb) GTEST_SKIP() << "its trust ratios are sums in another order";
    for (std::int64_t step = 0; step < 4; ++step) {
        on_cpu_.train(step);
        train_on_gpu(on_gpu_, step, 0.0);
        ASSERT_EQ(bits_of(on_gpu_.model.parameters()), bits_of(on_cpu_.model.parameters())) << "step " << step;
    }
}

TEST_P(NcclTraining, ClipsAndReportsAsTheCpuDoes) {
    for (std::int64_t step = 0; step < 4; ++step) {
        const StepReport expected = on_cpu_.train(step, 0.05, {.telemetry = step % 2 == 1});
        const StepReport report = train_on_gpu(on_gpu_, step, 0.05, {.telemetry = step % 2 == 1});
        EXPECT_NEAR(report.loss, expected.loss, 1e-6);
        EXPECT_NEAR(report.grad_norm, expected.grad_norm, 1e-6 * expected.grad_norm);
        ASSERT_EQ(report.group_grad_norms.size(), expected.group_grad_norms.size());
        ASSERT_EQ(report.group_weight_norms.size(), expected.group_weight_norms.size());
        for (std::size_t g = 0; g < expected.group_weight_norms.size(); ++g) {
            EXPECT_NEAR(report.group_weight_norms[g], expected.group_weight_norms[g], 1e-5);
            EXPECT_NEAR(report.group_update_ratios[g], expected.group_update_ratios[g], 1e-5);
        }
        EXPECT_EQ(report.traffic.bytes(), expected.traffic.bytes());
        EXPECT_EQ(report.traffic.calls(), expected.traffic.calls());
    }
    EXPECT_LT(distance(on_gpu_.model.parameters(), on_cpu_.model.parameters()), 1e-6);
}

/// Each parameter is complete as soon as it was waited for.
TEST_P(NcclTraining, GathersGoOnUnderTheNextForwardPass) {
    if (GetParam() == optim::OptimizerKind::lamb) GTEST_SKIP() << "its trust ratios are sums in another order";
    for (std::int64_t step = 0; step < 4; ++step) {
        on_cpu_.train(step);
        train_on_gpu(on_gpu_, step, 0.0, {.leaves_gather = true});
        for (const auto& [name, parameter] : on_gpu_.model.parameters()) {
            on_gpu_.zero.await_parameters({parameter});
            optim::wait_for(nullptr);
            ASSERT_EQ(bits_of(parameter), bits_of(on_cpu_.model.at(name))) << name << " step " << step;
        }
    }
}

/// Two owners of a copy, or each rank a copy of its own.
TEST_P(NcclTraining, CopiesOfTheStateGiveTheBitsOfTheCpu) {
    if (GetParam() == optim::OptimizerKind::lamb) GTEST_SKIP() << "its trust ratios are sums in another order";
    for (const auto& [owners, type] : {std::pair{1, optim::ComputeType::fp32},
                                       {2, optim::ComputeType::fp32},
                                       {1, optim::ComputeType::bf16},
                                       {2, optim::ComputeType::bf16}}) {
        if (mpi_.size() % owners != 0) continue;
        optim::Plan made = plan(mpi_.size());
        made.replicas = made.world_size / owners;
        made.compute = type;
        Training on_cpu(awkward_groups(), made, ShardRanks::by_block(mpi_, owners), buckets());
        Training on_gpu(awkward_groups(), made, ShardRanks::by_block(gpu_.communicator(), owners), buckets(),
                        Memory::cuda);
        for (std::int64_t step = 0; step < 4; ++step) {
            const StepReport expected = on_cpu.train(step);
            const StepReport report = train_on_gpu(on_gpu, step, 0.0);
            ASSERT_EQ(bits_of(on_gpu.model.parameters()), bits_of(on_cpu.model.parameters())) << owners << " owners";
            EXPECT_EQ(report.across.bytes, expected.across.bytes);
            EXPECT_EQ(report.across.calls, expected.across.calls);
        }
    }
}

/// Gradients leave after each of two micro-batches, and scratch memory is used again in the order of the stream.
TEST_P(NcclTraining, StageTwoGivesTheBitsOfTheCpu) {
    if (GetParam() == optim::OptimizerKind::lamb) GTEST_SKIP() << "its trust ratios are sums in another order";
    optim::Plan made = plan(mpi_.size());
    made.zero_stage = 2;
    made.micro_batches = 2;
    Training on_cpu(awkward_groups(), made, mpi_, buckets());
    Training on_gpu(awkward_groups(), made, gpu_.communicator(), buckets(), Memory::cuda);
    for (std::int64_t step = 0; step < 4; ++step) {
        on_cpu.train(step);
        {
            const testing_support::TorchInStream in_stream(nullptr);
            train_on_gpu(on_gpu, step, 0.0);
        }
        ASSERT_EQ(bits_of(on_gpu.model.parameters()), bits_of(on_cpu.model.parameters())) << "step " << step;
    }
}

TEST_P(NcclTraining, AStepThatIsNotFiniteChangesNothing) {
    train_on_gpu(on_gpu_, 0, 1.0);
    const std::string before = bits_of(on_gpu_.model.parameters());
    on_gpu_.storage.enter(1);
    on_gpu_.storage.zero_gradients();
    if (mpi_.rank() == mpi_.size() - 1) {
        const PartedView parts = on_gpu_.storage.gradient_parts(4);
        static_cast<float*>(parts.data)[0] = std::numeric_limits<float>::infinity();
    }
    const StepReport report = on_gpu_.zero.step({.step = 1});
    optim::wait_for(nullptr);
    EXPECT_TRUE(report.skipped);
    EXPECT_EQ(bits_of(on_gpu_.model.parameters()), before);
    EXPECT_EQ(on_gpu_.storage.group_steps()[4], 1);
}

/// The host launches an update and goes on: what it does is decided where the gradients lie.
TEST_P(NcclTraining, AnUpdateDoesNotStopTheHost) {
    std::optional<StepReport> open;
    double last_loss = 0;
    for (std::int64_t step = 0; step < 4; ++step) {
        const StepReport expected = on_cpu_.train(step, 0.05);
        optim::wait_for(nullptr);
        on_gpu_.storage.enter(step);
        on_gpu_.storage.zero_gradients();
        const torch::Tensor loss = on_gpu_.model.loss(mpi_.rank(), mpi_.size());
        on_gpu_.zero.backward(loss, true);
        const std::int64_t waits = testing_support::host_waits();
        const double value = loss.item<double>();
        StepReport report = on_gpu_.zero.step(
            {.step = step, .max_grad_norm = 0.05, .loss = value, .leaves_gather = true, .leaves_report = true});
        EXPECT_EQ(testing_support::host_waits(), waits);
        EXPECT_FALSE(report.settled);
        if (open) {
            on_gpu_.zero.settle(*open);
            EXPECT_EQ(open->loss, last_loss) << "the report of the step before is still to be had";
        }
        open = report;
        on_gpu_.zero.settle(report);
        last_loss = report.loss;
        EXPECT_NEAR(report.loss, expected.loss, 1e-6);
        EXPECT_NEAR(report.grad_norm, expected.grad_norm, 1e-6 * expected.grad_norm);
        EXPECT_FALSE(report.skipped);
        on_gpu_.zero.await_parameters();
        optim::wait_for(nullptr);
        ASSERT_LT(distance(on_gpu_.model.parameters(), on_cpu_.model.parameters()), 1e-6) << "step " << step;
    }
}

/// A step that is logged or saved, or ends a stage, waits for itself: the one before is still to be had.
TEST_P(NcclTraining, AnOpenReportOutlastsAStepThatWaits) {
    StepReport open = train_on_gpu(on_gpu_, 0, 0.05, {.leaves_report = true});
    EXPECT_FALSE(open.settled);
    const StepReport report = train_on_gpu(on_gpu_, 1, 0.05);
    on_gpu_.zero.settle(open);
    for (const StepReport& each : {open, report}) {
        const StepReport expected = on_cpu_.train(each.step, 0.05);
        EXPECT_NEAR(each.loss, expected.loss, 1e-6);
        EXPECT_NEAR(each.grad_norm, expected.grad_norm, 1e-6 * expected.grad_norm);
    }
}

INSTANTIATE_TEST_SUITE_P(Rules, NcclTraining,
                         ::testing::Values(optim::OptimizerKind::adamw, optim::OptimizerKind::sgd,
                                           optim::OptimizerKind::lamb));

}  // namespace
}  // namespace strata::dist::testing
