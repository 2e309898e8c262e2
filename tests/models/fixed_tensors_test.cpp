// Tensors that stay where they are while what they hold changes, over the stand-in of a GPU.
#include "models/fixed_tensors.h"

#include <gtest/gtest.h>

#include "optim/cuda_graph.h"
#include "optim/cuda_handles.h"
#include "tests/support/cuda_stand_in.h"

namespace strata::models {
namespace {

std::vector<torch::Tensor> some_tensors(std::int64_t first) {
    return {torch::arange(first, first + 3), torch::full({2}, static_cast<double>(first), torch::kFloat32)};
}

void expect_equal(const std::vector<torch::Tensor>& got, std::int64_t first) {
    const std::vector<torch::Tensor> expected = some_tensors(first);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(torch::equal(got[i], expected[i])) << got[i];
}

TEST(FixedTensor, OnTheCpuIsFilledAtOnce) {
    FixedTensors fixed(some_tensors(0), torch::kCPU, nullptr);
    const void* const place = fixed.there()[0].const_data_ptr();
    for (const std::int64_t first : {4, 7}) {
        fixed.send(some_tensors(first));
        expect_equal(fixed.there(), first);
        EXPECT_EQ(fixed.there()[0].const_data_ptr(), place);
    }
}

TEST(FixedTensor, IsFilledInTheStreamsOrderAndStopsNobody) {
    const optim::CudaStream stream;
    FixedTensors fixed(some_tensors(0), torch::kCPU, stream.get());
    const auto waits = testing_support::host_waits();
    fixed.send(some_tensors(4));
    fixed.send(some_tensors(7));
    EXPECT_EQ(testing_support::host_waits(), waits);
    EXPECT_FALSE(torch::equal(fixed.there()[0], some_tensors(7)[0])) << "not before the stream comes to it";
    optim::wait_for(stream.get());
    expect_equal(fixed.there(), 7);
}

/// A graph that reads them reads what was sent last before its replay.
TEST(FixedTensor, IsReadAnewByAGraph) {
    const optim::CudaStream stream;
    optim::DeviceMemory target(stream.get());
    FixedTensors fixed(some_tensors(0), torch::kCPU, stream.get());
    auto* const to = reinterpret_cast<std::int64_t*>(target.at_least(6 * sizeof(std::int64_t)));
    optim::CudaGraph graph(stream.get());
    graph.record(
        [&] { optim::copy_bytes(to, fixed.there()[0].const_data_ptr(), 3 * sizeof(std::int64_t), stream.get()); });
    for (const std::int64_t first : {4, 7, 1, 9, 12}) {
        fixed.send(some_tensors(first));
        graph.replay();
    }
    optim::wait_for(stream.get());
    EXPECT_EQ(to[2], 14);
}

}  // namespace
}  // namespace strata::models
