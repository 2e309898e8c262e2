// The update of slices on a GPU against the same on the CPU, over the stand-in of a GPU: tables, their copies, their
// order in the stream, and what comes back. The kernels' own arithmetic is tests/optim's.
#include "dist/slice_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "dist/slice_update_cuda.h"
#include "optim/segment_table.h"
#include "plan_support.h"
#include "tests/optim/update_twins.h"

namespace strata::dist::testing {
namespace {

using optim::GroupTelemetry;
using optim::OptimizerKind;
using optim::UpdateControl;

const bool twins_added = (optim::testing::add_update_twins(), true);

/// One rank's slices of awkward_groups(), in host memory and in the GPU's.
class SliceUpdates : public ::testing::TestWithParam<OptimizerKind> {
  protected:
    struct Memory {
        std::vector<float> param, grad, first, second;
    };

    static optim::Plan make_plan(OptimizerKind kind) {
        optim::OptimizerConfig optimizer;
        optimizer.kind = kind;
        optimizer.weight_decay = 0.1;
        if (kind == OptimizerKind::sgd) optimizer.momentum = 0.9;
        std::vector<TestGroup> groups = awkward_groups();
        groups.push_back({"large", 0.3, {{"large.weight", {130, 100}}, {"large.bias", {100}, false}}});
        return make_test_plan(groups, 1, optimizer);
    }

    static float value(std::int64_t i, int salt) {
        return std::sin(static_cast<float>(i * 7 + salt)) + (salt == 3 ? 1.5F : 0.0F);
    }

    std::int64_t total() const {
        std::int64_t elements = 0;
        for (std::size_t g = 0; g < plan_.groups.size(); ++g) elements += plan_.padded_elements(g);
        return elements;
    }

    std::vector<optim::UpdateSpan> spans(float* param, float* grad, float* first, float* second) const {
        std::vector<bool> live;
        std::vector<optim::SliceBuffers> buffers;
        std::int64_t at = 0;
        for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
            live.push_back(plan_.trainable(g, 0));
            buffers.push_back({param + at, grad + at, first + at, second + at});
            at += plan_.padded_elements(g);
        }
        return optim::build_spans(plan_, 0, live, buffers);
    }

    SliceUpdates() {
        for (std::int64_t i = 0; i < total(); ++i) {
            host_.param.push_back(value(i, 1));
            host_.grad.push_back(value(i, 2));
            host_.first.push_back(0);
            host_.second.push_back(0);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            on_gpu_[k] = reinterpret_cast<float*>(gpu_memory_[k].at_least(host_.param.size() * sizeof(float)));
            const std::vector<float>& from = *std::array{&host_.param, &host_.grad, &host_.first, &host_.second}[k];
            optim::copy_bytes(on_gpu_[k], from.data(), from.size() * sizeof(float), nullptr);
        }
        cpu_->lay_out(spans(host_.param.data(), host_.grad.data(), host_.first.data(), host_.second.data()));
        gpu_->lay_out(spans(on_gpu_[0], on_gpu_[1], on_gpu_[2], on_gpu_[3]));
        group_steps_.assign(plan_.groups.size(), 1);
    }

    std::vector<float> fetch(std::size_t k) const {
        std::vector<float> values(host_.param.size());
        optim::copy_bytes(values.data(), on_gpu_[k], values.size() * sizeof(float), nullptr);
        optim::wait_for(nullptr);
        return values;
    }

    void update(SliceUpdate& slices, const UpdateControl& control, std::span<GroupTelemetry> telemetry) const {
        const auto hypers = optim::make_hypers(plan_, 0, group_steps_);
        slices.set_control(control);
        if (plan_.optimizer.kind != OptimizerKind::lamb) return slices.update(hypers, telemetry);
        std::vector<double> sums(2 * optim::tensor_of_sums(plan_).size());
        slices.lamb_moments(hypers, sums);
        // Rounded, so that both sides go on with the same: the GPU adds in another order.
        for (double& sum : sums) sum = std::round(sum * 1e9) / 1e9;
        slices.lamb_apply(hypers, sums, telemetry);
    }

    void expect_equal() const {
        EXPECT_EQ(fetch(0), host_.param);
        EXPECT_EQ(fetch(2), host_.first);
        EXPECT_EQ(fetch(3), host_.second);
    }

    optim::Plan plan_ = make_plan(GetParam());
    Memory host_;
    optim::DeviceMemory gpu_memory_[4];
    float* on_gpu_[4] = {};
    std::unique_ptr<SliceUpdate> cpu_ = make_slice_update(dist::Memory::host, plan_);
    std::unique_ptr<SliceUpdate> gpu_ = make_slice_update(dist::Memory::cuda, plan_);
    std::vector<std::int64_t> group_steps_;
};

TEST_P(SliceUpdates, GiveTheCpusBits) {
    const UpdateControl control{0.7F, true};
    for (int step = 0; step < 3; ++step) {
        update(*cpu_, control, {});
        update(*gpu_, control, {});
    }
    expect_equal();
}

TEST_P(SliceUpdates, MeasureToRounding) {
    std::vector<GroupTelemetry> of_cpu(plan_.groups.size());
    std::vector<GroupTelemetry> of_gpu(plan_.groups.size(), {-1, -1});
    update(*cpu_, {}, of_cpu);
    update(*gpu_, {}, of_gpu);
    expect_equal();
    for (std::size_t g = 0; g < of_cpu.size(); ++g) {
        EXPECT_NEAR(of_gpu[g].update_square_sum, of_cpu[g].update_square_sum, 1e-12 * of_cpu[g].update_square_sum);
        EXPECT_NEAR(of_gpu[g].weight_square_sum, of_cpu[g].weight_square_sum, 1e-12 * of_cpu[g].weight_square_sum);
    }
}

TEST_P(SliceUpdates, SumSquaresOfGradients) {
    std::vector<double> of_cpu(plan_.groups.size());
    std::vector<double> of_gpu(plan_.groups.size(), -1.0);
    cpu_->square_sums(of_cpu);
    gpu_->square_sums(of_gpu);
    for (std::size_t g = 0; g < of_cpu.size(); ++g) EXPECT_NEAR(of_gpu[g], of_cpu[g], 1e-12 * of_cpu[g]) << g;
    const auto tiles_of_cpu = cpu_->tile_square_sums();
    const auto tiles_of_gpu = gpu_->tile_square_sums();
    ASSERT_EQ(tiles_of_gpu.size(), tiles_of_cpu.size());
    for (std::size_t t = 0; t < tiles_of_cpu.size(); ++t)
        EXPECT_NEAR(tiles_of_gpu[t], tiles_of_cpu[t], 1e-12 * tiles_of_cpu[t]) << t;
}

TEST_P(SliceUpdates, SumSquaresOfAnyRun) {
    optim::UpdateSpan on_cpu, on_gpu;
    on_cpu.elements = on_gpu.elements = 9000;
    on_cpu.grad = host_.param.data() + 3;
    on_gpu.grad = on_gpu_[0] + 3;
    double expected = 0;
    for (int i = 0; i < 9000; ++i) expected += std::pow(static_cast<double>(on_cpu.grad[i]), 2);
    EXPECT_NEAR(cpu_->square_sum(on_cpu), expected, 1e-8);
    EXPECT_NEAR(gpu_->square_sum(on_gpu), expected, 1e-8);

    std::vector<std::uint16_t> bf16(9003);
    optim::narrow(host_.param.data(), bf16.data(), 9003, optim::ComputeType::bf16);
    optim::DeviceMemory memory;
    auto* const there = reinterpret_cast<std::uint16_t*>(memory.at_least(bf16.size() * 2));
    optim::copy_bytes(there, bf16.data(), bf16.size() * 2, nullptr);
    on_cpu.grad = on_gpu.grad = nullptr;
    on_cpu.type = on_gpu.type = optim::ComputeType::bf16;
    on_cpu.grad16 = bf16.data() + 3;
    on_gpu.grad16 = there + 3;
    expected = 0;
    for (int i = 0; i < 9000; ++i)
        expected += std::pow(static_cast<double>(optim::bf16_to_float(bf16[static_cast<std::size_t>(i) + 3])), 2);
    EXPECT_NEAR(cpu_->square_sum(on_cpu), expected, 1e-8);
    EXPECT_NEAR(gpu_->square_sum(on_gpu), expected, 1e-8);
}

TEST_P(SliceUpdates, DecideWithoutTheHost) {
    UpdateOnDevice& there = *gpu_->on_device();
    EXPECT_EQ(cpu_->on_device(), nullptr);
    const auto hypers = optim::make_hypers(plan_, 0, group_steps_);
    for (const bool counts : {true, false}) {
        const double loss = 0.75;
        const std::int64_t waits = testing_support::host_waits();
        there.send({hypers, 0.5, loss});
        const BufferView sums = there.start_sums(counts);
        EXPECT_EQ(sums.count, std::ssize(plan_.groups) + 1);
        there.decide();
        there.ended();
        EXPECT_EQ(testing_support::host_waits(), waits);
        std::vector<double> expected(plan_.groups.size());
        if (counts) cpu_->square_sums(expected);
        expected.push_back(loss);
        for (std::size_t g = 0; g < expected.size(); ++g)
            EXPECT_NEAR(there.sums()[g], expected[g], 1e-12 * expected[g]);
    }
}

/// The decision is read where it was made, and so are the rates and the loss.
TEST_P(SliceUpdates, DoWhatWasDecided) {
    UpdateOnDevice& there = *gpu_->on_device();
    optim::DeviceMemory losses;
    auto* const loss_there = reinterpret_cast<double*>(losses.at_least(sizeof(double)));
    const bool lamb = plan_.optimizer.kind == OptimizerKind::lamb;
    for (const double loss : {std::nan(""), 1.0}) {
        const auto hypers = optim::make_hypers(plan_, 0, group_steps_);
        optim::copy_bytes(loss_there, &loss, sizeof(loss), nullptr);
        there.set_loss_scale({2.0F, 1999});
        const std::int64_t waits = testing_support::host_waits();
        there.send({hypers, 0.5, -1.0, loss_there});
        there.start_sums(true);
        there.decide();
        if (lamb) {
            there.start_lamb(true);
            there.apply_lamb(false);
        } else {
            there.update(false);
        }
        there.ended();
        EXPECT_EQ(testing_support::host_waits(), waits);
        const std::span<const double> sums = there.sums();
        if (!std::isnan(loss)) update(*cpu_, optim::decide(sums.data(), std::ssize(sums) - 1, {0.5, 2.0}), {});
        float scale = 0;
        optim::copy_bytes(&scale, there.loss_scale(), sizeof(scale), nullptr);
        EXPECT_EQ(scale, std::isnan(loss) ? 1.0F : 4.0F) << "of the next backward pass";
        if (lamb) {  // whose trust ratios are sums in another order
            EXPECT_THAT(fetch(0), ::testing::Pointwise(::testing::FloatNear(1e-6F), host_.param));
        } else {
            expect_equal();
        }
    }
}

TEST_P(SliceUpdates, AValueThatIsNotFiniteShowsInItsGroupsSumAlone) {
    const float infinity = INFINITY;
    optim::copy_bytes(on_gpu_[1] + 20, &infinity, sizeof(infinity), nullptr);
    std::vector<double> sums(plan_.groups.size());
    gpu_->square_sums(sums);
    EXPECT_FALSE(std::isfinite(sums[0]));
    for (std::size_t g = 1; g < sums.size(); ++g) EXPECT_TRUE(std::isfinite(sums[g])) << g;
}

INSTANTIATE_TEST_SUITE_P(Rules, SliceUpdates,
                         ::testing::Values(OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::sgd,
                                           OptimizerKind::lamb));

}  // namespace
}  // namespace strata::dist::testing
