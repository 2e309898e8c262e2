// Updates that are captured in a CUDA graph and replayed, over NCCL, against the same made directly; all of it over
// stand-ins (tests/support/cuda_stand_in.h, nccl_stand_in.h). Forward and backward passes are LibTorch's, on the host,
// in the order of the stream and in its graphs (torch_in_stream.h); each step first waits for it.
#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "dist/mpi_communicator.h"
#include "nccl_backends.h"
#include "nccl_stand_in.h"
#include "optim/cuda_graph.h"
#include "optim/cuda_handles.h"
#include "tests/optim/update_twins.h"
#include "tests/support/torch_in_stream.h"
#include "training_support.h"

namespace strata::dist::testing {
namespace {

using optim::ComputeType;
using optim::OptimizerKind;
using optim::ReplayCounts;
using testing_support::graph_launches;
using testing_support::kernel_launches;

struct Way {
    OptimizerKind kind = OptimizerKind::adamw;
    ComputeType compute = ComputeType::fp32;
    bool overlap = false;
    int owners = 0;       // of a copy of the state; 0: all ranks
    bool rounds = false;  // stochastically
    bool passes = false;  // captured as well
    int stage = 1;        // ZeRO's; under 2 of two micro-batches
};

void PrintTo(const Way& way, std::ostream* out) {
    *out << optim::optimizer_name(way.kind) << ", " << static_cast<int>(way.compute) << (way.overlap ? ", overlap" : "")
         << (way.owners > 0 ? ", copies" : "") << (way.passes ? ", passes" : "") << (way.stage == 2 ? ", stage 2" : "")
         << (way.rounds ? ", rounded stochastically" : "");
}

/// One training on the stand-in, with a stream and ranks' connections of its own.
class OnGpu {
  public:
    OnGpu(optim::Plan plan, const Way& way, bool cuda_graph)
        : as_one_piece_(way.passes),
          training_(awkward_groups(), with_copies(std::move(plan), way), ranks(way),
                    {.reduce_bytes = 1024,
                     .gather_bytes = 2048,
                     .overlap = way.overlap,
                     .stream = stream_.get(),
                     .cuda_graph = cuda_graph,
                     .pass_recordings = pass_recordings(cuda_graph && way.passes)},
                    Memory::cuda) {}

    /// `factor`: what the loss is multiplied by; infinity for a step that is skipped.
    StepReport train(std::int64_t step, double max_norm, double factor = 1.0, StepExtras extras = {}) {
        optim::wait_for(stream_.get());
        training_.storage.enter(step);
        const auto kernels = kernel_launches();
        factor_.fill_(factor);
        StepInput input{.step = step, .max_grad_norm = max_norm, .telemetry = extras.telemetry};
        {
            const testing_support::TorchInStream in_stream(stream_.get());
            passes();
            // Somewhere else at each step, as an allocator would have it.
            const torch::Tensor place = places_.narrow(0, step % 64, 1);
            place.copy_(loss_);
            input.loss_there = place.const_data_ptr<double>();
        }
        input.leaves_gather = extras.leaves_gather;
        input.leaves_report = extras.leaves_report;
        const StepReport report = training_.zero.step(input);
        kernels_ = kernel_launches() - kernels;
        optim::wait_for(stream_.get());
        return report;
    }

    void await() {
        training_.zero.await_parameters();
        optim::wait_for(stream_.get());
    }
    std::string bits() { return bits_of(training_.model.parameters()); }
    Training& training() { return training_; }
    ReplayCounts replays() const { return training_.zero.replays(); }
    ReplayCounts pass_replays() const { return training_.zero.pass_replays(); }
    NcclBackend& backend() { return backend_; }
    std::int64_t kernels() const { return kernels_; }  // that the last step launched

  private:
    /// All that differs from step to step lies in memory.
    void passes() {
        const auto made = [&] {
            training_.storage.zero_gradients();
            loss_.zero_();
            for (int turn = 0; turn < training_.plan.micro_batches; ++turn) {
                const int share = turn * training_.communicator.size() + training_.communicator.rank();
                const torch::Tensor loss = training_.model.loss(share, training_.shares()) * factor_;
                loss_.add_(loss.detach());
                training_.zero.backward(loss, turn + 1 == training_.plan.micro_batches);
            }
        };
        if (as_one_piece_) return training_.zero.passes(5, made);
        made();
    }
    optim::ReplayedWork::MakeRecording pass_recordings(bool captured) const {
        if (!captured) return {};
        return [stream = stream_.get()] { return std::make_unique<optim::CudaGraph>(stream); };
    }
    static NcclOptions options(const optim::CudaStream& stream) {
        NcclOptions options;
        options.compute_stream = stream.get();
        return options;
    }
    static optim::Plan with_copies(optim::Plan plan, const Way& way) {
        if (way.owners > 0) plan.replicas = plan.world_size / way.owners;
        return plan;
    }
    ShardRanks ranks(const Way& way) {
        if (way.owners > 0) return ShardRanks::by_block(backend_.communicator(), way.owners);
        return backend_.communicator();
    }

    bool as_one_piece_;
    optim::CudaStream stream_;
    optim::DeviceMemory losses_{stream_.get()};
    torch::Tensor places_ = at::from_blob(losses_.at_least(64 * sizeof(double)), {64}, torch::kFloat64);
    torch::Tensor loss_ = torch::zeros({1}, torch::kFloat64), factor_ = torch::ones({});
    NcclBackend backend_{nccl_stand_in(), options(stream_)};
    Training training_;
    std::int64_t kernels_ = 0;
};

class UpdateGraphs {
  protected:
    static constexpr std::int64_t steps = 28;

    optim::Plan plan(const Way& way) const {
        optim::Plan made = staged_plan(awkward_groups(), mpi_.size(), optim::OnUnfreeze::keep, way.kind);
        made.optimizer.weight_decay = 0.1;
        if (way.kind == OptimizerKind::sgd) made.optimizer.momentum = 0.9;
        made.compute = way.compute;
        if (way.rounds) made.rounding_seed = 42;
        made.zero_stage = made.micro_batches = way.stage;
        return made;
    }
    /// All groups learn from the first step on, at rates that rise and then fall to zero.
    optim::Plan one_stage(const Way& way) const {
        optim::Plan made = plan(way);
        made.stages = {made.stages.back()};
        made.stages[0].first_step = 0;
        made.total_steps = made.stages[0].end_step = steps;
        made.stages[0].schedule.kind = optim::ScheduleKind::linear;
        made.stages[0].schedule.warmup_steps = 3;
        made.stages[0].schedule.total_steps = steps;
        return made;
    }

    MpiCommunicator mpi_;
};

class UpdateGraph : public UpdateGraphs, public ::testing::TestWithParam<Way> {
  protected:
    bool runs_here() const { return GetParam().owners == 0 || mpi_.size() % GetParam().owners == 0; }
};

/// Rates, counts, the loss and where it lies, the norm that gradients are clipped to, the scale of the loss, and
/// whether the update is made at all: all change from step to step, and none of it is in the graph.
TEST_P(UpdateGraph, GivesTheBitsOfDirectUpdates) {
    if (!runs_here()) GTEST_SKIP() << "not so many ranks";
    OnGpu direct(one_stage(GetParam()), GetParam(), false), graph(one_stage(GetParam()), GetParam(), true);
    for (std::int64_t step = 0; step < steps; ++step) {
        const double max_norm = step % 4 == 3 ? 0.0 : 0.02 * static_cast<double>(step + 1);
        const double factor = step == 11 || step == 17 ? std::numeric_limits<double>::infinity() : 1.0;
        const StepReport expected = direct.train(step, max_norm, factor);
        const auto graphs = graph_launches();
        const StepReport report = graph.train(step, max_norm, factor);
        ASSERT_EQ(graph.bits(), direct.bits()) << "step " << step;
        EXPECT_EQ(report.skipped, expected.skipped);
        EXPECT_TRUE(report.skipped || factor == 1.0);
        if (!report.skipped) {
            EXPECT_EQ(report.loss, expected.loss);
            EXPECT_EQ(report.grad_norm, expected.grad_norm);
        }
        EXPECT_EQ(report.loss_scale, expected.loss_scale);
        EXPECT_EQ(report.reductions_in_backward, expected.reductions_in_backward);
        EXPECT_EQ(report.traffic.bytes(), expected.traffic.bytes());
        EXPECT_EQ(report.traffic.calls(), expected.traffic.calls());
        EXPECT_EQ(report.across.bytes, expected.across.bytes);
        EXPECT_EQ(graph.training().storage.group_steps(), direct.training().storage.group_steps());
        const bool passes_replayed = graph.pass_replays().replayed > 0;
        if (graph.replays().replayed == 0 || passes_replayed != GetParam().passes) continue;
        EXPECT_EQ(graph_launches(), graphs + (passes_replayed ? 2 : 1));
        const bool reduces_directly = !passes_replayed && (GetParam().overlap || GetParam().stage == 2);
        EXPECT_TRUE(graph.kernels() == 0 || reduces_directly) << "step " << step;
    }
    // The first visits' scratch memory grows, and the count begins anew.
    EXPECT_EQ(graph.replays().recorded, 1);
    EXPECT_GE(graph.replays().replayed, 20);
    EXPECT_EQ(graph.pass_replays().recorded, GetParam().passes ? 1 : 0);
    EXPECT_EQ(graph.pass_replays().replayed > 20, GetParam().passes);
    EXPECT_EQ(direct.replays(), ReplayCounts());
}

/// Groups freeze and thaw, so that memory moves: four stages are four graphs. Logged steps are made directly.
TEST_P(UpdateGraph, FollowsTheStages) {
    if (!runs_here()) GTEST_SKIP() << "not so many ranks";
    OnGpu direct(plan(GetParam()), GetParam(), false), graph(plan(GetParam()), GetParam(), true);
    for (std::int64_t step = 0; step < staged_steps; ++step) {
        const StepExtras extras{.telemetry = step == 4};
        const StepReport expected = direct.train(step, 0.5, 1.0, extras);
        const StepReport report = graph.train(step, 0.5, 1.0, extras);
        ASSERT_EQ(graph.bits(), direct.bits()) << "step " << step;
        EXPECT_EQ(report.group_weight_norms, expected.group_weight_norms);
        EXPECT_EQ(report.traffic.bytes(), expected.traffic.bytes());
    }
    EXPECT_EQ(graph.replays().recorded, 4);
    EXPECT_EQ(graph.replays().dropped, 3);
    EXPECT_EQ(graph.pass_replays().recorded, GetParam().passes ? 4 : 0);
}

class OneUpdateGraph : public UpdateGraphs, public ::testing::Test {};

/// What baked addresses point to has moved.
TEST_F(OneUpdateGraph, IsCapturedAgainWhenScratchMoves) {
    OnGpu direct(one_stage(Way{}), Way{}, false), graph(one_stage(Way{}), Way{}, true);
    for (std::int64_t step = 0; step < 14; ++step) {
        if (step == 8) {
            std::vector<Values<float>> memory;
            std::vector<PartedView> pieces;
            for (int i = 0; i < 2; ++i) {
                memory.emplace_back(graph.backend(), std::vector<float>(4096 * static_cast<std::size_t>(mpi_.size())));
                pieces.push_back(memory.back().parts(4096, 4096, ElementType::float32));
            }
            graph.backend().communicator().all_gather(pieces).wait();
        }
        direct.train(step, 0.5);
        graph.train(step, 0.5);
        ASSERT_EQ(graph.bits(), direct.bits()) << "step " << step;
    }
    EXPECT_EQ(graph.replays().dropped, 1);
    EXPECT_EQ(graph.replays().recorded, 2);
}

/// With a gather that overlaps the next forward pass, the rest is captured.
TEST_F(OneUpdateGraph, LeavesTheGatherOutWhereItGoesOn) {
    OnGpu direct(one_stage(Way{}), Way{}, false), graph(one_stage(Way{}), Way{}, true);
    for (std::int64_t step = 0; step < 16; ++step) {
        for (OnGpu* side : {&direct, &graph}) {
            side->train(step, 0.5, 1.0, {.leaves_gather = step % 3 != 2});
            side->await();
        }
        ASSERT_EQ(graph.bits(), direct.bits()) << "step " << step;
    }
    EXPECT_EQ(graph.replays().recorded, 2) << "with the gather and without";
}

/// Of the stand-in: what LibTorch computes is made anew by a replay, and told to the host by none.
TEST_F(OneUpdateGraph, HoldsWhatLibTorchComputes) {
    const optim::CudaStream stream;
    const torch::Tensor x = torch::ones({3}), sum = torch::zeros({});
    const testing_support::TorchInStream in_stream(stream.get());
    optim::CudaGraph graph(stream.get()), told(stream.get());
    graph.record([&] { sum.copy_(torch::matmul(x, x + 1)); });
    for (const float value : {2.0F, 3.0F}) {
        x.fill_(value);
        graph.replay();
        EXPECT_EQ(sum.item<float>(), 3 * value * (value + 1));
    }
    EXPECT_THROW(told.record([&] { sum.item<float>(); }), SystemError);
}

/// Passes are replayed before the host has learned how the update before ended: they find the scale that it left, after
/// steps that were skipped and where it grows. Norms are without the scale, so another one would show in them.
TEST_F(OneUpdateGraph, ReadsTheLossScaleWhereItLies) {
    const Way way{.compute = ComputeType::fp16, .overlap = true, .passes = true};
    OnGpu graph(one_stage(way), way, true);
    Training on_host(awkward_groups(), one_stage(way), mpi_);
    optim::LossScale scale{1024.0F, optim::LossScale::growth_interval - 9};
    graph.training().zero.set_loss_scale(scale);
    std::vector<StepReport> reports;
    std::vector<double> norms;  // 0: the step is skipped
    for (std::int64_t step = 0; step < steps; ++step) {
        const bool fits = step != 11 && step != 12 && step != 17;
        reports.push_back(graph.train(step, 0.5, fits ? 1.0 : std::numeric_limits<double>::infinity(),
                                      {.leaves_report = step + 1 < steps}));
        if (step > 0) graph.training().zero.settle(reports[reports.size() - 2]);  // the last step has settled itself
        EXPECT_EQ(reports.back().loss_scale, static_cast<double>(scale.scale)) << "step " << step;
        on_host.zero.set_loss_scale(scale);
        norms.push_back(fits ? on_host.train(step, 0.5).grad_norm : 0.0);
        scale.step(fits);
    }
    for (std::size_t step = 0; step < reports.size(); ++step) {
        EXPECT_EQ(reports[step].skipped, norms[step] == 0.0) << "step " << step;
        const double norm = reports[step].skipped ? 0.0 : reports[step].grad_norm;
        EXPECT_NEAR(norm, norms[step], 0.01 * norms[step]) << "step " << step;
    }
    EXPECT_EQ(scale.scale, 256.0F) << "grown once, halved thrice";
    EXPECT_GT(graph.pass_replays().replayed, 20);
}

INSTANTIATE_TEST_SUITE_P(
    Ways, UpdateGraph,
    ::testing::Values(Way{}, Way{.kind = OptimizerKind::sgd}, Way{.kind = OptimizerKind::lamb}, Way{.overlap = true},
                      Way{.compute = ComputeType::fp16}, Way{.compute = ComputeType::bf16, .overlap = true},
                      Way{.owners = 1}, Way{.kind = OptimizerKind::lamb, .owners = 2},
                      Way{.compute = ComputeType::bf16, .rounds = true},
                      Way{.kind = OptimizerKind::lamb, .compute = ComputeType::bf16, .rounds = true},
                      Way{.passes = true}, Way{.overlap = true, .passes = true},
                      Way{.compute = ComputeType::bf16, .overlap = true, .owners = 2, .passes = true},
                      Way{.compute = ComputeType::fp16, .overlap = true, .passes = true}, Way{.stage = 2},
                      Way{.passes = true, .stage = 2},
                      Way{.compute = ComputeType::bf16, .overlap = true, .passes = true, .stage = 2},
                      Way{.compute = ComputeType::fp16, .overlap = true, .owners = 2, .passes = true, .stage = 2}));

}  // namespace
}  // namespace strata::dist::testing
