// Work in a CUDA graph, and the way for what changes between replays, over the stand-in of a GPU. That the stand-in
// refuses what CUDA refuses is tested with them.
#include "optim/cuda_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cuda_runtime_api.h>

#include <cmath>
#include <string>
#include <thread>

#include "core/error.h"
#include "optim/fused_update_cuda.h"
#include "optim/pinned_staging.h"
#include "tests/optim/update_twins.h"

namespace strata::optim::testing {
namespace {

using ::testing::HasSubstr;

const bool twins_added = (add_update_twins(), true);

class Graphs : public ::testing::Test {
  protected:
    template <typename Value>
    static Value* place(DeviceMemory& memory) {
        return reinterpret_cast<Value*>(memory.at_least(sizeof(Value)));
    }
    template <typename Value>
    void set(Value* there, const Value& value) const {
        copy_bytes(there, &value, sizeof(value), stream_.get());
    }
    template <typename Value>
    Value get(const Value* there) const {
        Value value;
        copy_bytes(&value, there, sizeof(value), stream_.get());
        return value;
    }
    void decide(LossScale* scale) { decide_cuda(sums_, 1, max_norm_, scale, control_, stream_.get()); }

    std::string trouble_of(const std::function<void()>& work) const {
        CudaGraph graph(stream_.get());
        try {
            graph.record(work);
        } catch (const SystemError& error) {
            return error.what();
        }
        return "none";
    }

    CudaStream stream_, other_;
    DeviceMemory memory_[5]{DeviceMemory(stream_.get()), DeviceMemory(stream_.get()), DeviceMemory(stream_.get()),
                            DeviceMemory(stream_.get()), DeviceMemory(stream_.get())};
    double* sums_ = reinterpret_cast<double*>(memory_[0].at_least(2 * sizeof(double)));
    LossScale* scale_ = place<LossScale>(memory_[1]);
    UpdateControl* control_ = place<UpdateControl>(memory_[2]);
    float* copy_ = place<float>(memory_[3]);
    double* max_norm_ = place<double>(memory_[4]);
};

TEST_F(Graphs, WhatIsReadFromMemoryIsReadAnew) {
    CudaGraph graph(stream_.get());
    set(control_, {7.0F, true});
    const auto launches = testing_support::kernel_launches();
    graph.record([&] { decide(scale_); });
    EXPECT_EQ(get(control_).grad_scale, 7.0F) << "recording does nothing";
    set(max_norm_, 0.0);
    for (const float scale : {2.0F, 4.0F, 8.0F}) {
        set(scale_, LossScale{scale});
        set(sums_, 9.0);
        set(sums_ + 1, scale == 4.0F ? std::nan("") : 1.0);
        graph.replay();
        EXPECT_EQ(get(control_).grad_scale, 1.0F / scale);
        EXPECT_EQ(get(control_).finite, scale != 4.0F);
    }
    EXPECT_EQ(testing_support::kernel_launches(), launches + 1);
}

/// An argument of a kernel is what it was: here the address.
TEST_F(Graphs, ArgumentsStay) {
    DeviceMemory elsewhere(stream_.get());
    LossScale* scale = scale_;
    set(max_norm_, 0.0);
    set(sums_, 9.0);
    set(sums_ + 1, 1.0);
    set(scale_, LossScale{2.0F});
    CudaGraph graph(stream_.get());
    graph.record([&] { decide(scale); });
    scale = place<LossScale>(elsewhere);
    set(scale, LossScale{16.0F});
    graph.replay();
    EXPECT_EQ(get(control_).grad_scale, 0.5F);
}

/// A graph comes after what its stream holds, and streams drawn in by events run in their order.
TEST_F(Graphs, OtherStreamsComeAndGoByEvents) {
    CudaGraph graph(stream_.get());
    CudaEvent forked, joined;
    graph.record([&] {
        decide(scale_);
        forked.record(stream_.get());
        forked.order(other_.get());
        EXPECT_TRUE(is_captured(other_.get()));
        copy_bytes(copy_, &control_->grad_scale, sizeof(float), other_.get());
        joined.record(other_.get());
        joined.order(stream_.get());
        clear_bytes(control_, sizeof(UpdateControl), stream_.get());
    });
    EXPECT_FALSE(is_captured(other_.get()));
    set(sums_, 1.0);
    set(sums_ + 1, 1.0);
    set(max_norm_, 0.0);
    for (const float scale : {2.0F, 4.0F}) {
        set(scale_, LossScale{scale});
        graph.replay();
        EXPECT_EQ(get(copy_), 1.0F / scale);
        EXPECT_EQ(get(control_).grad_scale, 0.0F);
    }
}

TEST_F(Graphs, WhatCannotBeCapturedIsNamed) {
    CudaEvent event, unjoined, outside;
    outside.record(other_.get());
    float on_host = 0;
    const auto expect = [&](const std::function<void()>& work, const char* call, const char* error) {
        const std::string message = trouble_of(work);
        EXPECT_THAT(message, HasSubstr(call));
        EXPECT_THAT(message, HasSubstr(error));
        EXPECT_FALSE(is_captured(stream_.get()));
        EXPECT_FALSE(is_captured(other_.get()));
        set(copy_, 1.0F);
        EXPECT_EQ(get(copy_), 1.0F) << "the stream goes on";
    };
    expect([&] { wait_for(stream_.get()); }, "cudaStreamSynchronize", "cudaErrorStreamCaptureUnsupported");
    expect([&] { wait_for(other_.get()); }, "cudaStreamSynchronize", "cudaErrorStreamCaptureUnsupported");
    expect([&] { outside.wait(); }, "cudaEventSynchronize", "cudaErrorStreamCaptureUnsupported");
    expect([&] { outside.passed(); }, "cudaEventQuery", "cudaErrorStreamCaptureUnsupported");
    expect([&] { outside.order(stream_.get()); }, "cudaStreamWaitEvent", "cudaErrorStreamCaptureIsolation");
    expect([&] { copy_bytes(copy_, &on_host, sizeof(float), stream_.get()); }, "cudaMemcpyAsync",
           "cudaErrorStreamCaptureUnsupported");
    expect([&] { copy_bytes(&on_host, copy_, sizeof(float), stream_.get()); }, "cudaMemcpyAsync",
           "cudaErrorStreamCaptureUnsupported");
    expect([] { allocate_pinned(8); }, "cudaMallocHost", "cudaErrorStreamCaptureUnsupported");
    expect(
        [&] {
            event.record(stream_.get());
            event.wait();
        },
        "cudaEventSynchronize", "cudaErrorCapturedEvent");
    expect(
        [&] {
            event.record(stream_.get());
            event.order(other_.get());
            clear_bytes(copy_, sizeof(float), other_.get());
        },
        "cudaStreamEndCapture", "cudaErrorStreamCaptureUnjoined");
    CudaGraph of_default(nullptr);
    EXPECT_THROW(of_default.record([] {}), SystemError) << "the default stream cannot be captured";
}

TEST_F(Graphs, MemoryThatMovesIsABug) {
    EXPECT_THROW(trouble_of([&] { memory_[3].at_least(1 << 20); }), std::logic_error);
    EXPECT_EQ(memory_[3].moves(), 1);
    memory_[3].at_least(1 << 20);
    EXPECT_EQ(memory_[3].moves(), 2);
}

/// The thread that watches NCCL queries events meanwhile.
TEST_F(Graphs, OtherThreadsMayAskEvents) {
    CudaEvent outside;
    outside.record(other_.get());
    EXPECT_EQ(trouble_of([&] { std::thread([&] { EXPECT_TRUE(outside.passed()); }).join(); }), "none");
}

/// Blocks that are under way are not written again: the device reads them when it comes to that.
TEST_F(Graphs, StagedBlocksAreFreeOnceTheyAreCopied) {
    PinnedStaging staging(sizeof(float), 2);
    DeviceMemory targets(stream_.get());
    auto* const there = reinterpret_cast<float*>(targets.at_least(6 * sizeof(float)));
    const auto waits = testing_support::host_waits();
    for (int i = 0; i < 6; ++i) {
        *reinterpret_cast<float*>(staging.next()) = static_cast<float>(i);
        staging.send(there + i, stream_.get());
        EXPECT_EQ(testing_support::host_waits() - waits, i < 2 ? 0 : i - 1) << "only where the device is two behind";
    }
    for (int i = 0; i < 6; ++i) EXPECT_EQ(get(there + i), static_cast<float>(i));
}

}  // namespace
}  // namespace strata::optim::testing
