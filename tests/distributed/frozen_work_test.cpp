// What freezing saves of the backward pass of a BERT, on every rank: counted as the steps autograd takes, not timed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/types.h>

#include <map>
#include <set>

#include "dist/group_storage.h"
#include "dist/mpi_communicator.h"
#include "models/hf_folder.h"
#include "models/losses.h"
#include "optim/plan.h"

namespace strata {
namespace {

using Names = std::vector<std::string>;
using torch::autograd::Node;
using torch::autograd::variable_list;

/// What one backward pass has done.
struct Work {
    std::int64_t steps = 0;       ///< of autograd's nodes
    std::set<std::string> grads;  ///< parameters that were given a gradient
};

class Counter final : public torch::autograd::FunctionPostHook {
  public:
    Counter(Work& work, std::string parameter) : work_(work), parameter_(std::move(parameter)) {}
    variable_list operator()(const variable_list& outputs, const variable_list&) override {
        ++work_.steps;
        if (!parameter_.empty()) work_.grads.insert(parameter_);
        return outputs;
    }

  private:
    Work& work_;
    std::string parameter_;
};

/// Runs the backward pass with a counter behind every node that the loss reaches.
Work backward(const torch::Tensor& loss, const dist::NamedParameters& parameters) {
    std::map<const void*, std::string> names;
    for (const auto& [name, parameter] : parameters) names[parameter.unsafeGetTensorImpl()] = name;
    Work work;
    std::set<Node*> seen;
    std::vector<Node*> next{loss.grad_fn().get()};
    while (!next.empty()) {
        Node* const node = next.back();
        next.pop_back();
        if (node == nullptr || !seen.insert(node).second) continue;
        const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node);
        const std::string name = leaf == nullptr ? "" : names.at(leaf->variable.unsafeGetTensorImpl());
        node->add_post_hook(std::make_unique<Counter>(work, name));
        for (const auto& edge : node->next_edges()) next.push_back(edge.function.get());
    }
    loss.backward();
    return work;
}

/// Layer-decay groups of the tiny BERT, a stage of one update for each list.
optim::Plan plan_of(const dist::NamedParameters& parameters, const std::vector<Names>& stages, int ranks) {
    optim::PlanConfig config;
    config.policy.kind = optim::PolicyKind::layer_decay;
    config.world_size = ranks;
    config.total_steps = static_cast<std::int64_t>(stages.size());
    config.schedule.options.kind = optim::ScheduleKind::constant;
    for (const Names& groups : stages) {
        optim::StageConfig stage;
        stage.length = {1, optim::Length::Unit::updates};
        stage.groups = groups;
        config.stages.push_back(stage);
    }
    optim::Manifest manifest;
    for (const auto& [name, parameter] : parameters) manifest.push_back({name, parameter.sizes().vec()});
    return optim::make_plan(manifest, config);
}

std::set<std::string> parameters_of(const optim::Plan& plan, std::int64_t step) {
    std::set<std::string> names;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
        if (!plan.trainable(group, step)) continue;
        for (const optim::Segment& segment : plan.groups[group].segments) names.insert(segment.name);
    }
    return names;
}

TEST(FrozenWork, BackwardEndsAtTheLowestThawedGroupOnEveryRank) {
    dist::MpiCommunicator communicator;
    models::LoadOptions options;
    options.labels = models::HeadLabels{{"no", "yes"}, false};
    const auto loaded = models::load_model(STRATA_FIXTURES "/parity/tiny_bert", options);
    const auto parameters = loaded.model->named_parameter_list();
    const std::vector<Names> stages = {{"head"},
                                       {"layer_2", "head"},
                                       {"layer_1", "layer_2", "head"},
                                       {"layer_0", "layer_1", "layer_2", "head"},
                                       {"embeddings", "layer_0", "layer_1", "layer_2", "head"},
                                       {"layer_1", "head"},
                                       {"head"}};
    const optim::Plan plan = plan_of(parameters, stages, communicator.size());
    dist::GroupStorage storage(plan, parameters, communicator.rank());
    std::vector<std::int64_t> steps;
    for (std::int64_t step = 0; step < plan.total_steps; ++step) {
        storage.enter(step);
        const auto input = models::PackedInput::from_vectors({2, 9, 10, 3, 2, 11, 3}, {}, {}, {0, 4, 7}, {});
        const auto logits = loaded.model->forward(input, models::DropoutKey{1, step});
        const Work work = backward(models::loss_sum(logits, {0.0, 1.0}, false), parameters);
        EXPECT_EQ(work.grads, parameters_of(plan, step)) << "step " << step;
        const std::string own = std::to_string(work.steps);
        EXPECT_THAT(communicator.all_gather_bytes(own), ::testing::Each(own)) << "step " << step;
        steps.push_back(work.steps);
    }
    const std::int64_t layer = steps[3] - steps[2];
    EXPECT_GT(layer, 16) << "more than its parameters' gradients";
    EXPECT_EQ(steps[1] - steps[0], layer + 1)
        << "the last makes its queries of first tokens, apart from keys and values";
    EXPECT_EQ(steps[2] - steps[1], layer + 1) << "the second also the way to it from the first tokens";
    EXPECT_GT(steps[4], steps[3]) << "the embeddings come on top";
    EXPECT_LT(steps[5], steps[2]) << "a frozen layer in between passes gradients on, but takes none";
    EXPECT_GT(steps[5], steps[1]);
    EXPECT_EQ(steps[6], steps[0]) << "frozen again, it costs nothing again";
}

}  // namespace
}  // namespace strata
