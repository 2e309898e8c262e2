#include "dist/zero_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <limits>

#include "dist/mpi_communicator.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using testing::awkward_groups;
using testing::bits_of;
using testing::distance;
using testing::make_parameters;
using testing::make_test_plan;
using testing::Model;
using testing::TestGroup;
using testing::Training;

/// The same training in one process by torch's own optimizers, a parameter group for each (group, decays).
class Reference {
  public:
    Reference(const std::vector<TestGroup>& groups, const optim::OptimizerConfig& config)
        : model_(make_parameters(groups)) {
        std::vector<torch::optim::OptimizerParamGroup> options;
        for (const TestGroup& group : groups) {
            for (const auto& parameter : group.parameters) {
                torch::Tensor tensor = model_.at(parameter.name);
                if (group.multiplier == 0.0) {
                    tensor.set_requires_grad(false);
                    continue;
                }
                live_.push_back(tensor);
                options.push_back(
                    option(tensor, 0.01 * group.multiplier, parameter.decays ? config.weight_decay : 0.0, config));
            }
        }
        if (config.kind == optim::OptimizerKind::adamw) {
            optimizer_ = std::make_unique<torch::optim::AdamW>(options);
        } else {
            optimizer_ = std::make_unique<torch::optim::SGD>(options, torch::optim::SGDOptions(0.01));
        }
    }

    struct Step {
        double loss;
        double norm;
    };
    Step train(double max_norm) {
        optimizer_->zero_grad();
        const auto loss = model_.loss(0, 1);
        loss.backward();
        double norm = 0;
        if (max_norm > 0) {
            norm = torch::nn::utils::clip_grad_norm_(live_, max_norm);
        } else {
            for (const auto& tensor : live_) norm += std::pow(tensor.grad().norm().item<double>(), 2);
            norm = std::sqrt(norm);
        }
        optimizer_->step();
        return {loss.item<double>(), norm};
    }
    const NamedParameters& parameters() const { return model_.parameters(); }

  private:
    static torch::optim::OptimizerParamGroup option(const torch::Tensor& tensor, double lr, double decay,
                                                    const optim::OptimizerConfig& config) {
        std::unique_ptr<torch::optim::OptimizerOptions> options;
        if (config.kind == optim::OptimizerKind::adamw) {
            options = std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(lr)
                                                                       .betas({config.beta1, config.beta2})
                                                                       .eps(config.epsilon)
                                                                       .weight_decay(decay));
        } else {
            options = std::make_unique<torch::optim::SGDOptions>(
                torch::optim::SGDOptions(lr).momentum(config.momentum).nesterov(config.nesterov).weight_decay(decay));
        }
        return {{tensor}, std::move(options)};
    }

    Model model_;
    std::vector<torch::Tensor> live_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

class Zero : public ::testing::Test {
  protected:
    /// Trains both and compares losses, norms and parameters at every step.
    void expect_like_torch(const optim::OptimizerConfig& config, double max_norm, ZeroOptions options = {}) {
        Training run(awkward_groups(), communicator_, config, options);
        Reference reference(run.groups, config);
        for (std::int64_t step = 0; step < 20; ++step) {
            const auto report = run.train(step, max_norm);
            const auto expected = reference.train(max_norm);
            EXPECT_NEAR(report.loss, expected.loss, 1e-5 * expected.loss) << "step " << step;
            EXPECT_NEAR(report.grad_norm, expected.norm, 1e-5 * expected.norm) << "step " << step;
            EXPECT_FALSE(report.skipped);
        }
        EXPECT_LT(distance(run.model.parameters(), reference.parameters()), 1e-5);
        const std::string bits = bits_of(run.model.parameters());
        for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
    }

    MpiCommunicator communicator_;
};

TEST_F(Zero, AdamWEqualsTorchWithParameterGroups) {
    optim::OptimizerConfig config;
    config.weight_decay = 0.1;
    expect_like_torch(config, 0.0);
}

TEST_F(Zero, ClippingEqualsClipGradNorm) {
    optim::OptimizerConfig config;
    config.weight_decay = 0.1;
    expect_like_torch(config, 0.05);
}

TEST_F(Zero, SgdWithMomentumEqualsTorch) {
    optim::OptimizerConfig config;
    config.kind = optim::OptimizerKind::sgd;
    config.momentum = 0.9;
    config.nesterov = true;
    config.weight_decay = 0.01;
    expect_like_torch(config, 0.0);
}

TEST_F(Zero, PlainSgdEqualsTorch) {
    optim::OptimizerConfig config;
    config.kind = optim::OptimizerKind::sgd;
    expect_like_torch(config, 1.0);
}

TEST_F(Zero, SmallChunksAndBucketsChangeNothing) {
    expect_like_torch({}, 1.0, {.reduce_bytes = 200, .gather_bytes = 1000});
}

/// LAMB has no torch optimizer to compare with; its rule is tested against committed numbers
/// (tests/optim/lamb_test.cpp).
TEST_F(Zero, LambsTrustRatiosDoNotDependOnTheRanks) {
    optim::OptimizerConfig config;
    config.kind = optim::OptimizerKind::lamb;
    config.weight_decay = 0.1;
    MpiCommunicator alone(MPI_COMM_SELF);
    Training together(awkward_groups(), communicator_, config);
    Training single(awkward_groups(), alone, config);
    for (std::int64_t step = 0; step < 20; ++step) {
        const double expected = single.train(step, 1.0).loss;
        EXPECT_NEAR(together.train(step, 1.0).loss, expected, 1e-5 * expected) << "step " << step;
    }
    EXPECT_LT(distance(together.model.parameters(), single.model.parameters()), 1e-5);
    const std::string bits = bits_of(together.model.parameters());
    for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
}

TEST_F(Zero, OneStepEqualsOneRankWithinRounding) {
    MpiCommunicator alone(MPI_COMM_SELF);
    Training together(awkward_groups(), communicator_);
    Training single(awkward_groups(), alone);
    for (std::int64_t step = 0; step < 10; ++step) {
        const auto a = together.train(step, 1.0);
        const auto b = single.train(step, 1.0);
        EXPECT_NEAR(a.loss, b.loss, 1e-6);
        for (std::size_t g = 0; g < a.group_grad_norms.size(); ++g) {
            EXPECT_NEAR(a.group_grad_norms[g], b.group_grad_norms[g], 1e-6) << together.groups[g].name;
        }
    }
    EXPECT_LT(distance(together.model.parameters(), single.model.parameters()), 5e-6);
}

TEST_F(Zero, RunsRepeatBitForBit) {
    Training first(awkward_groups(), communicator_);
    Training second(awkward_groups(), communicator_);
    for (std::int64_t step = 0; step < 5; ++step) {
        EXPECT_EQ(first.train(step, 1.0).grad_norm, second.train(step, 1.0).grad_norm);
    }
    EXPECT_EQ(bits_of(first.model.parameters()), bits_of(second.model.parameters()));
}

TEST_F(Zero, AFrozenGroupIsUntouchedAndCostsNothing) {
    Training run(awkward_groups(), communicator_);
    const std::string weight = bits_of(run.model.at("kept.weight"));
    const std::string bias = bits_of(run.model.at("kept.bias"));
    const auto report = run.train(0);
    run.train(1);
    EXPECT_EQ(bits_of(run.model.at("kept.weight")), weight);
    EXPECT_EQ(bits_of(run.model.at("kept.bias")), bias);
    EXPECT_EQ(report.group_grad_norms[1], 0.0);
    EXPECT_EQ(report.learning_rates[1], 0.0);
    EXPECT_EQ(run.storage.group_steps(), (std::vector<std::int64_t>{2, 0, 2, 2, 2}));

    auto without = run.groups;
    without.erase(without.begin() + 1);
    std::int64_t padded = 0;
    for (const TestGroup& group : without) {
        const optim::Plan plan = make_test_plan({group}, communicator_.size());
        padded += optim::padded_elements(plan.groups[0].elements, communicator_.size());
    }
    const std::int64_t n = communicator_.size();
    EXPECT_EQ(report.traffic.all_gather.bytes, padded * 4 * (n - 1) / n) << "the frozen group is in no gather";
    EXPECT_EQ(report.traffic.reduce_scatter.bytes, padded * 4 * (n - 1) / n) << "nor in the reduction";
    EXPECT_EQ(report.traffic.all_reduce.bytes, 2 * static_cast<std::int64_t>(run.groups.size() + 1) * 8 * (n - 1) / n);
}

TEST_F(Zero, EachGroupMovesAtItsOwnRate) {
    optim::OptimizerConfig config;
    config.kind = optim::OptimizerKind::sgd;
    Training run(awkward_groups(), communicator_, config);
    const Model whole(make_parameters(run.groups));
    whole.loss(0, 1).backward();
    std::vector<torch::Tensor> before;
    for (const auto& [name, parameter] : run.model.parameters()) before.push_back(parameter.detach().clone());
    const auto report = run.train(0);
    std::size_t next = 0;
    for (std::size_t g = 0; g < run.groups.size(); ++g) {
        EXPECT_DOUBLE_EQ(report.learning_rates[g], 0.01 * run.groups[g].multiplier);
        for (const auto& parameter : run.groups[g].parameters) {
            const torch::Tensor now = run.model.at(parameter.name).detach();
            torch::Tensor expected = before[next++];
            if (run.storage.live(g)) expected = expected - report.learning_rates[g] * whole.at(parameter.name).grad();
            EXPECT_TRUE(torch::allclose(now, expected, 0, 5e-7)) << parameter.name;
        }
    }
}

class NotFinite : public Zero, public ::testing::WithParamInterface<float> {};

TEST_P(NotFinite, OneElementOnOneRankLeavesEveryRankUnchangedBitForBit) {
    Training run(awkward_groups(), communicator_);
    run.train(0);
    std::string before = bits_of(run.model.parameters());
    const auto state = [&] {
        std::string bits;
        for (std::size_t g = 0; g < run.storage.groups(); ++g) {
            if (!run.storage.live(g)) continue;
            const auto bytes = static_cast<std::size_t>(run.storage.slice(g).size()) * sizeof(float);
            if (bytes == 0) continue;
            bits.append(reinterpret_cast<const char*>(run.storage.buffers(g).exp_avg), bytes);
            bits.append(reinterpret_cast<const char*>(run.storage.buffers(g).exp_avg_sq), bytes);
        }
        return bits;
    };
    const std::string moments = state();
    const auto steps = run.storage.group_steps();
    for (const char* name : {"word", "out.bias", "head.bias"}) {
        run.storage.zero_gradients();
        const auto loss = run.model.loss(communicator_.rank(), communicator_.size());
        loss.backward();
        if (communicator_.rank() == communicator_.size() - 1) run.model.at(name).grad().view(-1)[1] = GetParam();
        const auto report = run.zero.step({1, 1.0, loss.item<double>()});
        EXPECT_TRUE(report.skipped) << name;
        EXPECT_EQ(report.traffic.all_gather.calls, 0) << name;
        EXPECT_TRUE(std::isfinite(report.loss)) << name;
        EXPECT_TRUE(bits_of(run.model.parameters()) == before) << name;
        EXPECT_TRUE(state() == moments) << name;
        EXPECT_EQ(run.storage.group_steps(), steps) << name;
    }
    EXPECT_FALSE(run.train(2).skipped) << "the next step goes on";
    Training clean(awkward_groups(), communicator_);
    clean.train(0);
    clean.train(2);
    EXPECT_TRUE(bits_of(run.model.parameters()) == bits_of(clean.model.parameters())) << "as if nothing had happened";
}

constexpr float infinity = std::numeric_limits<float>::infinity();
INSTANTIATE_TEST_SUITE_P(Values, NotFinite, ::testing::Values(std::nanf(""), infinity, -infinity));

TEST_F(Zero, ALossThatIsNotFiniteSkipsToo) {
    Training run(awkward_groups(), communicator_);
    const std::string before = bits_of(run.model.parameters());
    const double loss = communicator_.rank() == 0 ? std::nan("") : 1.0;
    EXPECT_TRUE(run.zero.step({0, 1.0, loss}).skipped);
    EXPECT_TRUE(bits_of(run.model.parameters()) == before);
}

TEST_F(Zero, PaddingStaysZero) {
    Training run(awkward_groups(), communicator_);
    for (std::int64_t step = 0; step < 3; ++step) run.train(step);
    for (std::size_t g = 0; g < run.storage.groups(); ++g) {
        const PartedView parts = run.storage.parameter_parts(g);
        const auto* values = static_cast<const float*>(parts.data);
        for (std::int64_t i = run.plan.groups[g].elements; i < parts.stride * communicator_.size(); ++i) {
            ASSERT_EQ(values[i], 0.0F) << run.groups[g].name << " " << i;
        }
    }
}

/// Where nothing has a gradient, updates leave zero moments alone: until somebody else writes to them.
TEST_F(Zero, AnUpdateSeesStateThatOthersHaveWritten) {
    Training run(awkward_groups(), communicator_), still(awkward_groups(), communicator_);
    const auto idle = [](Training& training, std::int64_t step) {
        training.storage.zero_gradients();
        training.zero.step({step, 0.0, 0.0});
    };
    for (Training* training : {&run, &still}) idle(*training, 0);
    for (std::size_t g = 0; g < run.storage.groups(); ++g) {
        if (!run.storage.live(g)) continue;
        std::fill_n(run.storage.buffers(g).exp_avg, run.storage.slice(g).size(), 1.0F);
    }
    for (Training* training : {&run, &still}) idle(*training, 1);
    const auto others = still.storage.live_parameters();
    for (const auto& [parameter, group, offset] : run.storage.live_parameters()) {
        const auto same_place = [&, g = group, at = offset](const auto& one) {
            return one.group == g && one.offset == at;
        };
        const auto twin = std::find_if(others.begin(), others.end(), same_place);
        EXPECT_TRUE(parameter.ne(twin->parameter).all().item<bool>()) << "group " << group;
    }
}

TEST_F(Zero, GatherParametersSpreadsWhatWasLoadedIntoSlices) {
    Training run(awkward_groups(), communicator_);
    for (std::size_t g = 0; g < run.storage.groups(); ++g) {
        const optim::Slice slice = run.storage.slice(g);
        for (std::int64_t i = 0; i < slice.size(); ++i) {
            run.storage.buffers(g).param[i] = static_cast<float>(g * 10000) + static_cast<float>(slice.begin + i);
        }
    }
    run.zero.gather_parameters();
    for (std::size_t g = 0; g < run.storage.groups(); ++g) {
        const auto values = run.storage.parameters(g);
        for (std::size_t i = 0; i < values.size(); ++i) {
            ASSERT_EQ(values[i], static_cast<float>(g * 10000 + i)) << "frozen groups too";
        }
    }
}

/// Whatever is asked for, and in whatever order, is complete; the bits are those of gathers that were waited for.
TEST_F(Zero, GathersThatGoOnUnderTheNextForwardPassGiveTheSameBits) {
    const ZeroOptions options{.reduce_bytes = 1000, .gather_bytes = 200};
    Training waits(awkward_groups(), communicator_, {}, options);
    Training goes_on(awkward_groups(), communicator_, {}, options);
    for (std::int64_t step = 0; step < 8; ++step) {
        const StepReport report = waits.train(step, 1.0);
        EXPECT_EQ(goes_on.train(step, 1.0, {.leaves_gather = true}).traffic.bytes(), report.traffic.bytes());
        auto names = goes_on.model.parameters();
        if (step % 2 == 1) std::reverse(names.begin(), names.end());
        if (step % 4 == 2) names.clear();  // the next step waits for all that is left
        for (const auto& [name, parameter] : names) {
            goes_on.zero.await_parameters({parameter});
            ASSERT_TRUE(bits_of(parameter) == bits_of(waits.model.at(name))) << name << " step " << step;
        }
        if (names.empty()) goes_on.zero.await_parameters();
    }
    goes_on.zero.await_parameters();
    EXPECT_TRUE(bits_of(goes_on.model.parameters()) == bits_of(waits.model.parameters()));
}

TEST_F(Zero, AModelCutOffFromItsStorageIsABug) {
    Training run(awkward_groups(), communicator_);
    torch::Tensor word = run.model.at("word");
    word.mutable_grad() = torch::Tensor();
    EXPECT_THROW(run.zero.step({0, 1.0, 0.0}), std::logic_error);
}

TEST_F(Zero, CollectivesThatHoldNoElementAreABug) {
    Training run(awkward_groups(), communicator_);
    EXPECT_THROW(ZeroOptimizer(run.plan, run.storage, communicator_, {.reduce_bytes = 4 * communicator_.size() - 1}),
                 std::logic_error);
    EXPECT_THROW(ZeroOptimizer(run.plan, run.storage, communicator_, {.gather_bytes = 4 * communicator_.size() - 1}),
                 std::logic_error);
}

}  // namespace
}  // namespace strata::dist
