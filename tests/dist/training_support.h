// A small network over awkward_groups(), and its training by ZeroOptimizer.
#pragma once

#include <torch/nn/functional/loss.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "dist/zero_optimizer.h"
#include "tests/dist/plan_support.h"

namespace strata::dist::testing {

inline constexpr std::int64_t samples = 168;  // whole shares for 1 to 4 ranks and 7, of 1 to 3 micro-batches each

/// A small network over all of awkward_groups()' parameters: each takes part in the loss.
class Model {
  public:
    explicit Model(NamedParameters parameters) : parameters_(std::move(parameters)) {
        auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
        ids_ = torch::randint(101, {samples, 6}, generator, torch::kInt64);
        labels_ = torch::randint(3, {samples}, generator, torch::kInt64);
    }

    /// This rank's part of the mean loss over all samples.
    torch::Tensor loss(int rank, int ranks) const {
        const std::int64_t share = samples / ranks;
        const auto ids = ids_.narrow(0, rank * share, share);
        // 16-bit parameters are computed with in fp32; their gradients are 16-bit.
        const auto p = [this](const char* name) { return at(name).to(torch::kFloat32); };
        const auto x = torch::embedding(p("word"), ids).mean(1);
        const auto gate =
            torch::tanh(torch::matmul(torch::ones({1, 13}), p("kept.weight")).sum() + p("kept.bias").sum());
        auto h = torch::tanh(torch::matmul(x, p("dense.weight")) + p("dense.bias")) * p("norm.weight") + gate;
        h = h + p("out.bias").sum();
        const auto logits = torch::matmul(h, p("head.weight")) + p("head.bias");
        const auto sum = torch::nn::functional::cross_entropy(
            logits, labels_.narrow(0, rank * share, share),
            torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
        return sum / static_cast<double>(samples);
    }

    const NamedParameters& parameters() const { return parameters_; }
    torch::Tensor at(const std::string& name) const {
        for (const auto& [key, tensor] : parameters_) {
            if (key == name) return tensor;
        }
        throw std::logic_error("no " + name);
    }

  private:
    NamedParameters parameters_;
    torch::Tensor ids_;
    torch::Tensor labels_;
};

struct StepExtras {
    bool leaves_gather = false;
    bool telemetry = false;
    bool leaves_report = false;
};

/// A model under ZeroOptimizer.
struct Training {
    Training(const std::vector<TestGroup>& from, Communicator& with, const optim::OptimizerConfig& optimizer = {},
             ZeroOptions options = {})
        : Training(from, make_test_plan(from, with.size(), optimizer), with, std::move(options)) {}

    Training(std::vector<TestGroup> from, optim::Plan made, const ShardRanks& with, ZeroOptions options = {},
             std::optional<Memory> memory = std::nullopt, std::unique_ptr<GradientWatch> watch = nullptr)
        : groups(std::move(from)),
          plan(std::move(made)),
          communicator(with.world()),
          model(make_parameters(groups)),
          storage(plan, model.parameters(), with.owner(), memory, std::move(watch)),
          zero(plan, storage, with, std::move(options)) {}

    StepReport train(std::int64_t step, double max_norm = 0.0, StepExtras extras = {}) {
        storage.enter(step);
        storage.zero_gradients();
        double own_loss = 0;
        std::vector<double> losses(static_cast<std::size_t>(shares()), 0.0);
        for (int turn = 0; turn < plan.micro_batches; ++turn) {
            const int share = turn * communicator.size() + communicator.rank();
            const torch::Tensor loss = share < shares() ? model.loss(share, shares()) : torch::Tensor();
            if (loss.defined()) own_loss += losses[static_cast<std::size_t>(share)] = loss.item<double>();
            zero.backward(loss, turn + 1 == plan.micro_batches);
        }
        StepInput input{.step = step, .max_grad_norm = max_norm, .loss = own_loss, .telemetry = extras.telemetry};
        input.leaves_gather = extras.leaves_gather;
        input.leaves_report = extras.leaves_report;
        if (plan.deterministic) input.micro_losses = losses;
        return zero.step(input);
    }

    /// What a step's samples are cut into.
    int shares() const { return plan.deterministic ? fixed_shares : plan.micro_batches * communicator.size(); }

    static constexpr int fixed_shares = 8;

    std::vector<TestGroup> groups;
    optim::Plan plan;
    Communicator& communicator;
    Model model;
    GroupStorage storage;
    ZeroOptimizer zero;
};

inline double distance(const NamedParameters& a, const NamedParameters& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, (a[i].second.detach() - b[i].second.detach()).abs().max().item<double>());
    }
    return largest;
}

}  // namespace strata::dist::testing
