// What the storage and the reducer promise whoever watches gradients: everything that is read, sent or added to has
// been settled or added to before, and ranks' sums come to no other elements than is said.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <limits>
#include <map>
#include <memory>

#include "dist/gradient_reducer.h"
#include "dist/mpi_communicator.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::make_parameters;
using testing::make_test_plan;
using testing::staged_plan;
using testing::TestGroup;
using testing::Training;

/// Leaves NaN wherever it may: a gradient that counts as zero is NaN until autograd adds to it or it is settled.
class Poison final : public GradientWatch {
  public:
    ~Poison() override { watch({}); }

    void watch(const std::vector<torch::Tensor>& parameters) override {
        for (const auto& own : hooks_)
            std::erase_if(own.first->pre_hooks(), [&](const auto& other) { return other.get() == own.second; });
        hooks_.clear();
        places_.clear();
        for (const torch::Tensor& parameter : parameters) {
            auto& place = places_[parameter.grad().const_data_ptr()];
            if (!place) place = std::make_shared<Place>(Place{parameter.grad()});
            EXPECT_FALSE(place->grad.ne(0).any().item<bool>()) << "new gradients are zero";
            place->before = place->grad.clone();
            auto hook = std::make_unique<Hook>(place);
            const auto accumulator = torch::autograd::impl::grad_accumulator(parameter);
            hooks_.emplace_back(accumulator, hook.get());
            accumulator->add_pre_hook(std::move(hook));
        }
    }

    void start_anew(const torch::Tensor& parameter, optim::Slice sums) override {
        Place& place = *places_.at(parameter.grad().const_data_ptr());
        const torch::Tensor now = place.grad.view({-1}), before = place.before.view({-1});
        const auto same = [&](std::int64_t begin, std::int64_t end) {
            return torch::equal(now.slice(0, begin, end), before.slice(0, begin, end));
        };
        EXPECT_LE(sums.begin, sums.end);
        if (!place.poisoned) {
            EXPECT_TRUE(same(0, sums.begin) && same(sums.end, now.numel())) << "sums came elsewhere";
        }
        place.grad.fill_(std::numeric_limits<double>::quiet_NaN());
        place.poisoned = true;
    }

    void settle(const torch::Tensor& parameter) override {
        Place& place = *places_.at(parameter.grad().const_data_ptr());
        place.clear();
        place.before = place.grad.clone();
    }

  private:
    struct Place {
        torch::Tensor grad;
        torch::Tensor before = {};  // when it was settled
        bool poisoned = false;

        void clear() {
            if (std::exchange(poisoned, false)) grad.zero_();
        }
    };
    struct Hook final : torch::autograd::FunctionPreHook {
        explicit Hook(std::shared_ptr<Place> its_place) : place(std::move(its_place)) {}
        torch::autograd::variable_list operator()(const torch::autograd::variable_list& given) override {
            if (given[0].defined()) place->clear();
            return given;
        }
        std::shared_ptr<Place> place;
    };

    std::map<const void*, std::shared_ptr<Place>> places_;
    std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, const torch::autograd::FunctionPreHook*>> hooks_;
};

class WatchedGradients : public ::testing::TestWithParam<optim::ComputeType> {
  protected:
    /// Through stages that freeze and thaw; every number of copies, micro-batches and ways to overlap.
    void expect_bits_of_zeroed(int owners, int micro_batches, const ZeroOptions& options) {
        optim::Plan plan = staged_plan(awkward_groups(), communicator_.size());
        plan.compute = GetParam();
        plan.micro_batches = micro_batches;
        plan.replicas = communicator_.size() / owners;
        const ShardRanks ranks =
            plan.replicas == 1 ? ShardRanks(communicator_) : ShardRanks::by_block(communicator_, owners);
        Training zeroed(awkward_groups(), plan, ranks, options);
        Training watched(awkward_groups(), plan, ranks, options, std::nullopt, std::make_unique<Poison>());
        for (std::int64_t step = 0; step < testing::staged_steps; ++step) {
            EXPECT_EQ(watched.train(step, 1.0).grad_norm, zeroed.train(step, 1.0).grad_norm) << "step " << step;
        }
        EXPECT_TRUE(bits_of(watched.model.parameters()) == bits_of(zeroed.model.parameters()));
    }

    MpiCommunicator communicator_;
};

TEST_P(WatchedGradients, GiveTheBitsOfZeroedOnes) {
    for (int owners = 1; owners <= communicator_.size(); ++owners) {
        if (communicator_.size() % owners != 0) continue;
        for (const int micro_batches : {1, 2}) {
            for (const bool overlap : {true, false}) {
                SCOPED_TRACE(::testing::Message()
                             << owners << " owners, " << micro_batches << " micro-batches, overlap " << overlap);
                expect_bits_of_zeroed(owners, micro_batches,
                                      {.reduce_bytes = 1000, .gather_bytes = 1000, .overlap = overlap});
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, WatchedGradients, ::testing::Values(optim::ComputeType::fp32, optim::ComputeType::bf16),
                         [](const auto& type) { return std::string(optim::name_of(type.param)); });

/// The parameter's accumulation node runs, and has nothing to add.
struct TakesPartInVain : torch::autograd::Function<TakesPartInVain> {
    static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x, const torch::Tensor&) {
        return x.clone();
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                   const torch::autograd::variable_list& grads) {
        return {grads[0], {}};
    }
};

/// One tensor under two names, a parameter that takes no part, one in vain, ranks without samples; with and without
/// this class's backward pass.
TEST(WatchedSums, HoldTiedAndUnusedParametersGradients) {
    MpiCommunicator communicator;
    const std::vector<TestGroup> groups{{"only", 1.0, {{"tied", {5, 3}}, {"unused", {70}}, {"scalar", {}}}},
                                        {"vain", 1.0, {{"vain", {200}}}}};
    const optim::Plan plan = make_test_plan(groups, communicator.size());
    for (const bool by_reducer : {true, false}) {
        NamedParameters parameters = make_parameters(groups);
        const torch::Tensor twin = parameters[0].second.detach().set_requires_grad(true);
        parameters.emplace_back("twin", twin);
        GroupStorage storage(plan, parameters, communicator.rank(), std::nullopt, std::make_unique<Poison>());
        GradientReducer reducer(plan, storage, communicator, {.bucket_bytes = std::int64_t{100} * communicator.size()});
        for (int step = 0; step < 3; ++step) {
            storage.zero_gradients();
            torch::Tensor loss;
            if (communicator.rank() == 0)
                loss = TakesPartInVain::apply(
                    (parameters[0].second * 2).sum() + (twin * 5).sum() + parameters[2].second * 3,
                    parameters[3].second);
            if (by_reducer) {
                reducer.backward(loss, true);
            } else if (loss.defined()) {
                loss.backward();
            }
            reducer.finish();
            storage.require_bound();
            const optim::Slice own = storage.slice(0);
            const float* const grads = storage.buffers(0).grad;
            for (std::int64_t i = own.begin; i < own.end; ++i)
                EXPECT_EQ(grads[i - own.begin], i < 15 ? 7.0F : i < 85 ? 0.0F : 3.0F) << i;
            const float* const vain = storage.buffers(1).grad;
            for (std::int64_t i = 0; i < storage.slice(1).size(); ++i) EXPECT_EQ(vain[i], 0.0F) << i;
        }
    }
}

/// What is left of a step that was given up counts as zero, too.
TEST(OwnSums, BeginAnewWithZeroedGradients) {
    MpiCommunicator communicator;
    const std::vector<TestGroup> groups{{"only", 1.0, {{"weight", {70}}}}};
    const optim::Plan plan = testing::in_stage_two(make_test_plan(groups, communicator.size()), 2);
    const NamedParameters parameters = make_parameters(groups);
    GroupStorage storage(plan, parameters, communicator.rank());
    GradientReducer reducer(plan, storage, communicator, {.bucket_bytes = 1000});
    storage.zero_gradients();
    reducer.backward((parameters[0].second * 100).sum(), false);
    storage.zero_gradients();
    for (int pass = 0; pass < 2; ++pass) reducer.backward((parameters[0].second * 2).sum(), pass == 1);
    reducer.finish();
    const optim::Slice own = storage.slice(0);
    for (std::int64_t i = 0; i < own.size(); ++i)
        EXPECT_EQ(storage.gradient_sums(0)[i], 4.0F * static_cast<float>(communicator.size())) << i;
}

}  // namespace
}  // namespace strata::dist
