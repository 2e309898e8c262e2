// Groups that thaw and freeze in the middle of a run, on any number of ranks, against torch's own optimizers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include <map>
#include <memory>

#include "dist/mpi_communicator.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::distance;
using testing::make_parameters;
using testing::Model;
using testing::staged_plan;
using testing::TestGroup;
using testing::Training;

constexpr std::int64_t steps = testing::staged_steps;

/// One torch::optim::AdamW for each group, made anew where the plan says that the group starts anew.
class Reference {
  public:
    Reference(const std::vector<TestGroup>& groups, const optim::Plan& plan)
        : groups_(groups), plan_(plan), model_(make_parameters(groups)), optimizers_(groups.size()) {}

    double train(std::int64_t step) {
        for (const optim::Transition& change : plan_.transitions()) {
            if (change.step == step && !change.keeps_state) optimizers_[change.group].reset();
        }
        for (std::size_t g = 0; g < groups_.size(); ++g) prepare(g, step);
        const auto loss = model_.loss(0, 1);
        loss.backward();
        for (std::size_t g = 0; g < groups_.size(); ++g) {
            if (plan_.trainable(g, step)) optimizers_[g]->step();
        }
        return loss.item<double>();
    }

    const NamedParameters& parameters() const { return model_.parameters(); }

  private:
    void prepare(std::size_t g, std::int64_t step) {
        std::vector<torch::optim::OptimizerParamGroup> options;
        for (const auto& parameter : groups_[g].parameters) {
            torch::Tensor tensor = model_.at(parameter.name);
            tensor.set_requires_grad(plan_.trainable(g, step));
            tensor.mutable_grad() = torch::Tensor();
            options.push_back({{tensor},
                               std::make_unique<torch::optim::AdamWOptions>(
                                   torch::optim::AdamWOptions(0.0).weight_decay(parameter.decays ? 0.1 : 0.0))});
        }
        if (!plan_.trainable(g, step)) return;
        if (optimizers_[g] == nullptr) optimizers_[g] = std::make_unique<torch::optim::AdamW>(options);
        for (auto& group : optimizers_[g]->param_groups()) group.options().set_lr(plan_.learning_rate(g, step));
    }

    const std::vector<TestGroup>& groups_;
    const optim::Plan& plan_;
    Model model_;
    std::vector<std::unique_ptr<torch::optim::Optimizer>> optimizers_;
};

class Stages : public ::testing::TestWithParam<optim::OnUnfreeze> {
  protected:
    MpiCommunicator communicator_;
};

TEST_P(Stages, ThawAndFreezeAsTorchWithAnOptimizerForEachGroup) {
    const auto groups = awkward_groups();
    Training run(groups, staged_plan(groups, communicator_.size(), GetParam()), communicator_);
    Reference reference(groups, run.plan);
    for (std::int64_t step = 0; step < steps; ++step) {
        const double expected = reference.train(step);
        EXPECT_NEAR(run.train(step).loss, expected, 1e-5 * expected) << "step " << step;
    }
    EXPECT_LT(distance(run.model.parameters(), reference.parameters()), 1e-5);
    const std::string bits = bits_of(run.model.parameters());
    for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
}

TEST_P(Stages, FrozenIsGoneFromMemoryAndMessages) {
    const auto groups = awkward_groups();
    Training run(groups, staged_plan(groups, communicator_.size(), GetParam()), communicator_);
    for (std::int64_t step = 0; step < steps; ++step) {
        const StepReport report = run.train(step);
        const optim::RankMemory held = run.storage.memory();
        const optim::RankMemory planned = optim::memory_per_rank(run.plan, communicator_.rank(), step);
        EXPECT_EQ(held.gradient_bytes, planned.gradient_bytes) << "step " << step;
        EXPECT_EQ(held.state_bytes, planned.state_bytes) << "step " << step;
        const std::int64_t norms = static_cast<std::int64_t>(sizeof(double)) *
                                   static_cast<std::int64_t>(groups.size() + 1) * 2 * (communicator_.size() - 1) /
                                   communicator_.size();
        EXPECT_EQ(report.traffic.bytes() - norms, optim::traffic_per_step(run.plan, step).sum()) << "step " << step;
        for (std::size_t g = 0; g < groups.size(); ++g) {
            for (const auto& parameter : groups[g].parameters) {
                const torch::Tensor tensor = run.model.at(parameter.name);
                EXPECT_EQ(tensor.requires_grad(), run.plan.trainable(g, step)) << parameter.name << " step " << step;
                EXPECT_EQ(tensor.grad().defined(), run.plan.trainable(g, step)) << parameter.name << " step " << step;
            }
        }
    }
}

TEST_P(Stages, FrozenGroupsDoNotMoveByABit) {
    const auto groups = awkward_groups();
    Training run(groups, staged_plan(groups, communicator_.size(), GetParam()), communicator_);
    for (std::int64_t step = 0; step < steps; ++step) {
        std::map<std::string, std::string> before;
        for (const auto& [name, tensor] : run.model.parameters()) before[name] = bits_of(tensor);
        run.train(step);
        for (std::size_t g = 0; g < groups.size(); ++g) {
            for (const auto& parameter : groups[g].parameters) {
                const bool moved = bits_of(run.model.at(parameter.name)) != before[parameter.name];
                EXPECT_EQ(moved, run.plan.trainable(g, step)) << parameter.name << " step " << step;
            }
        }
    }
}

TEST_P(Stages, EveryGroupCountsItsOwnUpdates) {
    const auto groups = awkward_groups();
    Training run(groups, staged_plan(groups, communicator_.size(), GetParam()), communicator_);
    for (std::int64_t step = 0; step < steps; ++step) run.train(step);
    using Counts = std::vector<std::int64_t>;
    // embeddings, frozen, middle, bias, head
    const std::map<optim::OnUnfreeze, Counts> expected = {{optim::OnUnfreeze::keep, {12, 0, 18, 12, 18}},
                                                          {optim::OnUnfreeze::reset, {12, 0, 18, 6, 6}},
                                                          {optim::OnUnfreeze::reset_all, {6, 0, 6, 6, 6}}};
    EXPECT_EQ(run.storage.group_steps(), expected.at(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(OnUnfreeze, Stages,
                         ::testing::Values(optim::OnUnfreeze::keep, optim::OnUnfreeze::reset,
                                           optim::OnUnfreeze::reset_all),
                         [](const auto& kind) {
                             std::string name(optim::on_unfreeze_name(kind.param));
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

}  // namespace
}  // namespace strata::dist
