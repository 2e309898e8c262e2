// Training in 16 bits with fp32 masters: against the same done plainly, and what it costs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include <cmath>

#include "dist/mpi_communicator.h"
#include "dist/zero_optimizer.h"
#include "tests/dist/plan_support.h"
#include "tests/dist/training_support.h"

namespace strata::dist {
namespace {

using optim::ComputeType;
using testing::awkward_groups;
using testing::bits_of;
using testing::distance;
using testing::in_stage_two;
using testing::make_parameters;
using testing::make_test_plan;
using testing::Model;
using testing::TestGroup;
using testing::Training;

optim::OptimizerConfig with_decay() {
    optim::OptimizerConfig config;
    config.weight_decay = 0.1;
    return config;
}

optim::Plan plan_in(ComputeType type, int ranks, int zero_stage = 1, int micro_batches = 1) {
    optim::Plan plan = make_test_plan(awkward_groups(), ranks, with_decay());
    plan.zero_stage = zero_stage;
    plan.micro_batches = micro_batches;
    plan.compute = type;
    return plan;
}

/// In one process: torch's AdamW on fp32 masters; before each step the model is the masters rounded, and gradients, one
/// for each share of the samples, are rounded to the model's type and summed in fp32; in fp16 with the loss scaled.
class Reference {
  public:
    Reference(const std::vector<TestGroup>& groups, torch::ScalarType type)
        : type_(type), masters_(make_parameters(groups)), model_(rounded()) {
        const optim::OptimizerConfig config = with_decay();
        std::vector<torch::optim::OptimizerParamGroup> options;
        std::size_t next = 0;
        for (const TestGroup& group : groups) {
            for (const auto& parameter : group.parameters) {
                const torch::Tensor& master = masters_[next++].second;
                if (group.multiplier == 0.0) continue;
                live_.push_back(next - 1);
                auto own = torch::optim::AdamWOptions(0.01 * group.multiplier)
                               .betas({config.beta1, config.beta2})
                               .eps(config.epsilon)
                               .weight_decay(parameter.decays ? config.weight_decay : 0.0);
                options.push_back({{master}, std::make_unique<torch::optim::AdamWOptions>(own)});
            }
        }
        optimizer_ = std::make_unique<torch::optim::AdamW>(options);
    }

    double train(int shares) {
        model_ = Model(rounded());
        for (const std::size_t i : live_) masters_[i].second.mutable_grad() = torch::zeros_like(masters_[i].second);
        double loss_sum = 0;
        for (int share = 0; share < shares; ++share) {
            const torch::Tensor loss = model_.loss(share, shares);
            (loss * scale()).backward();
            loss_sum += loss.item<double>();
            for (const std::size_t i : live_) {
                torch::Tensor& grad = model_.parameters()[i].second.mutable_grad();
                const torch::NoGradGuard no_grad;
                masters_[i].second.mutable_grad().add_(grad.to(torch::kFloat32) / scale());
                grad = torch::Tensor();
            }
        }
        optimizer_->step();
        return loss_sum;
    }

    const NamedParameters& masters() const { return masters_; }
    float scale() const { return type_ == torch::kHalf ? 1024.0F : 1.0F; }

  private:
    NamedParameters rounded() const {
        NamedParameters parameters;
        for (const auto& [name, master] : masters_) {
            parameters.emplace_back(name, master.detach().to(type_).set_requires_grad(true));
        }
        return parameters;
    }

    torch::ScalarType type_;
    NamedParameters masters_;
    Model model_;
    std::vector<std::size_t> live_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

class Precision : public ::testing::Test {
  protected:
    int ranks() const { return communicator_.size(); }

    void expect_like_plain_torch(const optim::Plan& plan) {
        Training run(awkward_groups(), plan, communicator_);
        Reference reference(run.groups, scalar_type(plan.compute));
        if (run.zero.loss_scale()) run.zero.set_loss_scale({reference.scale()});
        for (std::int64_t step = 0; step < 10; ++step) {
            const StepReport report = run.train(step);
            const double expected = reference.train(run.shares());
            EXPECT_NEAR(report.loss, expected, 3e-4 * expected) << "step " << step;
            EXPECT_FALSE(report.skipped);
        }
        const NamedParameters full = run.zero.full_parameters(run.model.parameters());
        // Ten steps of AdamW move a weight by 0.1; a gradient's last bit by a few millionths of a step.
        EXPECT_LT(distance(full, reference.masters()), 5e-4);
        for (std::size_t i = 0; i < full.size(); ++i) {
            EXPECT_EQ(full[i].second.scalar_type(), torch::kFloat32);
            const torch::Tensor& parameter = run.model.parameters()[i].second;
            EXPECT_EQ(bits_of(full[i].second.to(parameter.scalar_type())), bits_of(parameter)) << full[i].first;
        }
        const std::string bits = bits_of(run.model.parameters());
        for (const auto& other : communicator_.all_gather_bytes(bits)) EXPECT_TRUE(other == bits) << "ranks differ";
    }

    MpiCommunicator communicator_;
};

TEST_F(Precision, Bf16IsPlainTorchWithMasters) {
    expect_like_plain_torch(plan_in(ComputeType::bf16, ranks()));
}

TEST_F(Precision, Bf16UnderStageTwoAddsUpInFp32) {
    expect_like_plain_torch(plan_in(ComputeType::bf16, ranks(), 2, 2));
}

TEST_F(Precision, Bf16UnderStageOneAddsMicroBatchesUpInFp32) {
    expect_like_plain_torch(plan_in(ComputeType::bf16, ranks(), 1, 2));
}

TEST_F(Precision, Fp16IsPlainTorchWithMasters) {
    expect_like_plain_torch(plan_in(ComputeType::fp16, ranks()));
}

TEST_F(Precision, AFrozenGroupKeepsItsFp32Values) {
    Training run(awkward_groups(), plan_in(ComputeType::bf16, ranks()), communicator_);
    run.train(0);
    const NamedParameters full = run.zero.full_parameters(run.model.parameters());
    const NamedParameters before = make_parameters(run.groups);
    for (std::size_t i = 0; i < full.size(); ++i) {
        const bool frozen = full[i].first.starts_with("kept.");
        EXPECT_EQ(bits_of(full[i].second) == bits_of(before[i].second), frozen) << full[i].first;
    }
}

TEST_F(Precision, CostsWhatThePlanSays) {
    for (const ComputeType type : {ComputeType::fp32, ComputeType::bf16, ComputeType::fp16}) {
        for (const auto& [stage, micro_batches] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}}) {
            Training run(awkward_groups(), plan_in(type, ranks(), stage, micro_batches), communicator_);
            if (run.zero.loss_scale()) run.zero.set_loss_scale({1.0F});  // so that no update is skipped
            const StepReport report = run.train(0);
            const optim::StepTraffic traffic = traffic_per_step(run.plan, 0);
            const std::string what = std::string(name_of(type)) + " stage " + std::to_string(stage);
            EXPECT_EQ(report.traffic.reduce_scatter.bytes, traffic.reduce_bytes) << what;
            EXPECT_EQ(report.traffic.all_gather.bytes, traffic.gather_bytes) << what;
            const optim::RankMemory planned = memory_per_rank(run.plan, communicator_.rank(), 0);
            EXPECT_EQ(run.storage.memory().parameter_bytes, planned.parameter_bytes) << what;
            EXPECT_EQ(run.storage.memory().gradient_bytes, planned.gradient_bytes) << what;
            EXPECT_EQ(run.storage.memory().state_bytes, planned.state_bytes) << what;
        }
    }
    const auto gathered = [&](ComputeType type) { return traffic_per_step(plan_in(type, ranks()), 0).gather_bytes; };
    EXPECT_EQ(2 * gathered(ComputeType::bf16), gathered(ComputeType::fp32));
}

TEST_F(Precision, LoadedMastersReachEveryRanksParameters) {
    Training run(awkward_groups(), plan_in(ComputeType::bf16, ranks()), communicator_);
    for (std::size_t g = 0; g < run.storage.groups(); ++g) {
        const optim::Slice slice = run.storage.slice(g);
        for (std::int64_t i = 0; i < slice.size(); ++i) {
            run.storage.buffers(g).param[i] = 0.001F * static_cast<float>(slice.begin + i) + static_cast<float>(g);
        }
    }
    run.zero.gather_parameters();
    const NamedParameters full = run.zero.full_parameters(run.model.parameters());
    for (std::size_t i = 0; i < full.size(); ++i) {
        const torch::Tensor& parameter = run.model.parameters()[i].second;
        const auto place = run.storage.place_of(parameter);
        const float first = 0.001F * static_cast<float>(place.offset) + static_cast<float>(place.group);
        EXPECT_EQ(full[i].second.view({-1})[0].item<float>(), first) << full[i].first;
        EXPECT_EQ(bits_of(full[i].second.to(torch::kBFloat16)), bits_of(parameter)) << full[i].first;
    }
}

TEST_F(Precision, ValuesByNameAreMastersAndParameters) {
    Training run(awkward_groups(), plan_in(ComputeType::bf16, ranks()), communicator_);
    run.train(0);
    const NamedParameters start = make_parameters(run.groups);
    run.storage.set_values(start);
    EXPECT_EQ(bits_of(run.zero.full_parameters(run.model.parameters())), bits_of(start));
    for (std::size_t i = 0; i < start.size(); ++i) {
        EXPECT_EQ(bits_of(start[i].second.to(torch::kBFloat16)), bits_of(run.model.parameters()[i].second));
    }
}

TEST_F(Precision, DeterministicBf16HasTheSameBitsOnAnyNumberOfRanks) {
    const auto plan = [](int with) {
        optim::Plan made = plan_in(ComputeType::bf16, with, 2, (Training::fixed_shares + with - 1) / with);
        made.deterministic = true;
        return made;
    };
    MpiCommunicator alone(MPI_COMM_SELF);
    Training together(awkward_groups(), plan(ranks()), communicator_);
    Training single(awkward_groups(), plan(1), alone);
    for (std::int64_t step = 0; step < 5; ++step) {
        const StepReport a = together.train(step, 1.0);
        const StepReport b = single.train(step, 1.0);
        EXPECT_EQ(a.loss, b.loss);
        EXPECT_EQ(a.grad_norm, b.grad_norm);
    }
    EXPECT_EQ(bits_of(together.zero.full_parameters(together.model.parameters())),
              bits_of(single.zero.full_parameters(single.model.parameters())));
    EXPECT_EQ(bits_of(together.model.parameters()), bits_of(single.model.parameters()));
}

TEST_F(Precision, Fp16SkipsAndHalvesTheScaleUntilGradientsFit) {
    Training run(awkward_groups(), plan_in(ComputeType::fp16, ranks()), communicator_);
    Training fp32(awkward_groups(), plan_in(ComputeType::fp32, ranks()), communicator_);
    ASSERT_TRUE(run.zero.loss_scale());
    EXPECT_FALSE(fp32.zero.loss_scale());
    run.zero.set_loss_scale({0x1p30F});
    const std::string parameters = bits_of(run.model.parameters());
    const std::string masters = bits_of(run.zero.full_parameters(run.model.parameters()));
    int skipped = 0;
    StepReport report = run.train(0, 1.0);
    for (; report.skipped; report = run.train(0, 1.0)) {
        EXPECT_EQ(report.loss_scale, std::pow(2.0, 30 - skipped++));
        EXPECT_EQ(run.zero.loss_scale()->scale, static_cast<float>(report.loss_scale / 2));
        EXPECT_TRUE(std::isfinite(report.loss)) << "the loss is said without its scale";
        EXPECT_TRUE(bits_of(run.model.parameters()) == parameters);
        EXPECT_TRUE(bits_of(run.zero.full_parameters(run.model.parameters())) == masters);
        EXPECT_THAT(run.storage.group_steps(), ::testing::Each(0));
        ASSERT_LT(skipped, 30);
    }
    EXPECT_GT(skipped, 5);
    EXPECT_EQ(run.zero.loss_scale()->good_steps, 1);
    const StepReport expected = fp32.train(0, 1.0);
    EXPECT_NEAR(report.loss, expected.loss, 1e-3 * expected.loss);
    EXPECT_NEAR(report.grad_norm, expected.grad_norm, 1e-2 * expected.grad_norm) << "the norm is said without it too";
    EXPECT_LT(distance(run.zero.full_parameters(run.model.parameters()), fp32.model.parameters()), 1e-3);
    const auto scales = communicator_.all_gather_bytes(std::to_string(run.zero.loss_scale()->scale));
    EXPECT_THAT(scales, ::testing::Each(scales.front()));
}

}  // namespace
}  // namespace strata::dist
