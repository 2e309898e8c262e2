// Gradients on their way: stage 2 against stage 1, many ranks against one in bits, and what leaves early.
#include "dist/gradient_reducer.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "dist/mpi_communicator.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::distance;
using testing::in_stage_two;
using testing::make_parameters;
using testing::make_test_plan;
using testing::staged_plan;
using testing::TestGroup;
using testing::Training;

/// Small enough that every group but the smallest is cut, and several leave in one bucket.
const ZeroOptions small_buckets{.reduce_bytes = 1000, .gather_bytes = 1000};

class Reducer : public ::testing::TestWithParam<optim::OptimizerKind> {
  protected:
    static optim::OptimizerConfig optimizer() {
        optim::OptimizerConfig config;
        config.kind = GetParam();
        config.weight_decay = 0.1;
        return config;
    }
    optim::Plan plan(int ranks) const { return make_test_plan(groups_, ranks, optimizer()); }

    /// The same bits on any number of ranks are asked of it.
    optim::Plan deterministic(optim::Plan plan) const {
        const int ranks = plan.world_size;
        plan = in_stage_two(std::move(plan), (Training::fixed_shares + ranks - 1) / ranks);
        plan.deterministic = true;
        return plan;
    }

    /// More tiles than one in a tensor, and a border of tiles inside another.
    std::vector<TestGroup> large_groups() const {
        std::vector<TestGroup> groups = groups_;
        groups[0].parameters[0].shape = {1501, 7};
        groups[2].parameters.push_back({"extra", {3, 2001}});
        return groups;
    }

    void expect_same_everywhere(const Training& run) {
        const std::string bits = bits_of(run.model.parameters());
        for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
    }

    MpiCommunicator communicator_;
    MpiCommunicator alone_{MPI_COMM_SELF};
    std::vector<TestGroup> groups_ = awkward_groups();
};

TEST_P(Reducer, StageTwoEqualsStageOneWithinRounding) {
    for (const int micro_batches : {1, 2}) {
        optim::Plan first = plan(communicator_.size());
        first.micro_batches = micro_batches;
        Training one(groups_, first, communicator_, small_buckets);
        Training two(groups_, in_stage_two(plan(communicator_.size()), micro_batches), communicator_, small_buckets);
        for (std::int64_t step = 0; step < 10; ++step) {
            const StepReport a = one.train(step, 1.0);
            const StepReport b = two.train(step, 1.0);
            EXPECT_NEAR(a.loss, b.loss, 1e-5 * a.loss);
            EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-5 * a.grad_norm);
        }
        EXPECT_LT(distance(one.model.parameters(), two.model.parameters()), 1e-5);
        expect_same_everywhere(two);
    }
}

TEST_P(Reducer, DeterministicRunsHaveTheBitsOfOneRank) {
    groups_ = large_groups();
    Training together(groups_, deterministic(plan(communicator_.size())), communicator_, small_buckets);
    Training single(groups_, deterministic(plan(1)), alone_);
    for (std::int64_t step = 0; step < 10; ++step) {
        const StepReport a = together.train(step, 0.5);
        const StepReport b = single.train(step, 0.5);
        EXPECT_EQ(a.loss, b.loss) << "step " << step;
        EXPECT_EQ(a.grad_norm, b.grad_norm) << "step " << step;
        EXPECT_EQ(a.group_grad_norms, b.group_grad_norms) << "step " << step;
        ASSERT_TRUE(bits_of(together.model.parameters()) == bits_of(single.model.parameters())) << "step " << step;
    }
}

TEST_P(Reducer, DeterministicRunsHaveTheBitsOfOneRankThroughStages) {
    const auto staged = [&](int ranks) {
        return deterministic(staged_plan(groups_, ranks, optim::OnUnfreeze::keep, GetParam()));
    };
    Training together(groups_, staged(communicator_.size()), communicator_);
    Training single(groups_, staged(1), alone_);
    for (std::int64_t step = 0; step < testing::staged_steps; ++step) {
        EXPECT_EQ(together.train(step, 0.5).grad_norm, single.train(step, 0.5).grad_norm) << "step " << step;
    }
    EXPECT_TRUE(bits_of(together.model.parameters()) == bits_of(single.model.parameters()));
}

TEST_P(Reducer, WhatLeavesEarlyHasTheSameBits) {
    for (const int stage : {1, 2}) {
        optim::Plan made = plan(communicator_.size());
        made.zero_stage = stage;
        ZeroOptions late = small_buckets;
        late.overlap = false;
        Training early_run(groups_, made, communicator_, small_buckets);
        Training late_run(groups_, made, communicator_, late);
        for (std::int64_t step = 0; step < 5; ++step) {
            EXPECT_GT(early_run.train(step).reductions_in_backward, 1);
            EXPECT_EQ(late_run.train(step).reductions_in_backward, 0);
        }
        EXPECT_TRUE(bits_of(early_run.model.parameters()) == bits_of(late_run.model.parameters()));
    }
}

/// Its upper part is complete, and leaves, before the backward pass has come to its lower one.
TEST_P(Reducer, APieceOfALargeGroupLeavesBeforeTheGroupIsComplete) {
    const std::vector<TestGroup> whole = {groups_[0],
                                          {"rest", 1.0, {{"kept.weight", {13, 5}}, {"kept.bias", {5}, false}}}};
    groups_ = whole;
    for (std::size_t g = 2; g < awkward_groups().size(); ++g) {
        const auto more = awkward_groups()[g].parameters;
        groups_[1].parameters.insert(groups_[1].parameters.end(), more.begin(), more.end());
    }
    constexpr std::int64_t lower = 13 * 5 + 5;
    if (plan(communicator_.size()).slice_stride(1) <= lower)
        GTEST_SKIP() << "the first of " << communicator_.size()
                     << " slices is all of the lower part: every piece waits";
    for (const int stage : {1, 2}) {
        optim::Plan made = plan(communicator_.size());
        made.zero_stage = stage;
        Training run(groups_, made, communicator_);
        GradientReducer reducer(made, run.storage, communicator_, {.bucket_bytes = 100 * communicator_.size()});
        std::int64_t early = 0;
        run.storage.zero_gradients();
        run.model.at("kept.weight").register_hook([&](const torch::Tensor& gradient) {
            early = reducer.started_early();
            return gradient;
        });
        reducer.backward(run.model.loss(communicator_.rank(), communicator_.size()), true);
        reducer.finish();
        EXPECT_GT(early, 0) << "stage " << stage;
    }
}

TEST_P(Reducer, SendsWhatThePlanSays) {
    for (const int stage : {1, 2}) {
        optim::Plan made = plan(communicator_.size());
        made.zero_stage = stage;
        made.micro_batches = 3;
        Training run(groups_, made, communicator_, small_buckets);
        const StepReport report = run.train(0);
        const optim::StepTraffic planned = optim::traffic_per_step(made, 0);
        // Every bucket's bytes are rounded down by themselves.
        EXPECT_NEAR(static_cast<double>(report.traffic.reduce_scatter.bytes), static_cast<double>(planned.reduce_bytes),
                    static_cast<double>(report.traffic.reduce_scatter.calls));
        EXPECT_NEAR(static_cast<double>(report.traffic.all_gather.bytes), static_cast<double>(planned.gather_bytes),
                    static_cast<double>(report.traffic.all_gather.calls));
        EXPECT_EQ(run.storage.memory().gradient_bytes,
                  optim::memory_per_rank(made, communicator_.rank(), 0).gradient_bytes);
    }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Reducer,
                         ::testing::Values(optim::OptimizerKind::adamw, optim::OptimizerKind::sgd,
                                           optim::OptimizerKind::lamb),
                         [](const auto& kind) { return std::string(optim::optimizer_name(kind.param)); });

/// What a model may do to its gradients: one tensor under two names, and a parameter that takes no part.
TEST(OwnSlices, HoldTiedAndUnusedParametersGradients) {
    MpiCommunicator communicator;
    const std::vector<TestGroup> groups{{"only", 1.0, {{"tied", {5, 3}}, {"unused", {70}}}}};
    const optim::Plan plan = in_stage_two(make_test_plan(groups, communicator.size()));
    NamedParameters parameters = make_parameters(groups);
    torch::Tensor twin = parameters[0].second.detach().set_requires_grad(true);
    parameters.emplace_back("twin", twin);
    GroupStorage storage(plan, parameters, communicator.rank());
    GradientReducer reducer(plan, storage, communicator, {.bucket_bytes = 1000});
    for (int pass = 0; pass < 2; ++pass) {
        const torch::Tensor loss = (parameters[0].second * 2).sum() + (twin * 5).sum();
        reducer.backward(communicator.rank() == 0 ? loss : torch::Tensor(), pass == 1);
    }
    reducer.finish();
    storage.require_bound();
    const optim::Slice slice = storage.slice(0);
    for (std::int64_t i = slice.begin; i < slice.end; ++i) {
        EXPECT_EQ(storage.gradient_sums(0)[i - slice.begin], i < 15 ? 14.0F : 0.0F) << i;
    }
}

/// The first of two ranks. What it sends is late, never ready when asked about, and then is lost.
class LosesReductions final : public Communicator {
  public:
    LosesReductions() { size_ = 2; }
    std::unique_ptr<Communicator> duplicate() override { return nullptr; }

  private:
    struct Lost final : Operation {
        void wait() override { throw SystemError("the other rank is gone"); }
    };
    std::unique_ptr<Operation> start_all_reduce_sum(std::span<const BufferView>) override { return nullptr; }
    std::unique_ptr<Operation> start_all_gather(std::span<const PartedView>) override { return nullptr; }
    std::unique_ptr<Operation> start_reduce_scatter_sum(std::span<const SummedParts>) override {
        return std::make_unique<Lost>();
    }
    void do_all_reduce_sum(std::span<double>) override {}
    std::int64_t do_all_reduce_max(std::int64_t value) override { return value; }
    void do_broadcast(std::span<std::byte>, int) override {}
    std::vector<std::string> do_all_gather_bytes(const std::string& own) override { return {own, own}; }
    void do_barrier() override {}
    std::unique_ptr<Communicator> do_split(int) override { return nullptr; }
};

/// A reduction that nobody waits for ends in its destructor, which keeps its errors to itself: the update would be made
/// of sums that never came.
TEST(Reductions, ThatFailEndTheStep) {
    const std::vector<TestGroup> groups{{"only", 1.0, {{"weight", {70}}}}};
    for (const int stage : {1, 2}) {
        for (const bool overlap : {false, true}) {
            LosesReductions communicator;
            optim::Plan plan = make_test_plan(groups, communicator.size());
            plan.zero_stage = stage;
            const NamedParameters parameters = make_parameters(groups);
            GroupStorage storage(plan, parameters, communicator.rank());
            GradientReducer reducer(plan, storage, communicator, {.bucket_bytes = 100, .overlap = overlap});
            reducer.backward(parameters[0].second.sum(), true);
            EXPECT_THROW(reducer.finish(), SystemError) << "stage " << stage << (overlap ? ", early" : "");
        }
    }
}

TEST(OwnSlices, AreFoundCutOffFromAModelThatRanBackwardItself) {
    MpiCommunicator communicator;
    Training run(awkward_groups(), in_stage_two(make_test_plan(awkward_groups(), communicator.size())), communicator);
    run.model.loss(communicator.rank(), communicator.size()).backward();
    EXPECT_THROW(run.zero.step({0, 1.0, 0.0}), std::logic_error);
}

}  // namespace
}  // namespace strata::dist
