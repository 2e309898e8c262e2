// How many kernels the CUDA twins launch, and that they neither wait nor allocate, however many groups and tensors
// there are. The runtime's calls are wrapped by the linker (CMakeLists.txt), so nothing runs and no GPU is needed.
#include "optim/fused_update_cuda.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace {

int launches = 0;
int waits = 0;

}  // namespace

// Arguments stay with the caller. A launch is __cudaLaunchKernel in CUDA 13 and cudaLaunchKernel before.
extern "C" {
int __wrap___cudaLaunchKernel() {
    return ++launches, 0;
}
int __wrap_cudaLaunchKernel() {
    return ++launches, 0;
}
int __wrap_cudaGetLastError() {
    return 0;
}
int __wrap_cudaDeviceSynchronize() {
    return ++waits, 0;
}
int __wrap_cudaStreamSynchronize() {
    return ++waits, 0;
}
int __wrap_cudaEventSynchronize() {
    return ++waits, 0;
}
int __wrap_cudaMemcpy() {
    return ++waits, 0;
}
int __wrap_cudaMalloc() {
    return ++waits, 0;
}
int __wrap_cudaFree() {
    return ++waits, 0;
}
}

namespace strata::optim {
namespace {

struct Tables {
    explicit Tables(int groups) : values(64 * static_cast<std::size_t>(groups)), hypers(values.size() / 64) {
        for (int g = 0; g < groups; ++g) {
            float* const at = values.data() + std::ptrdiff_t{64} * g;
            spans.push_back({at, at, at, at, 64, g, true, g});
        }
        tiles = first_tiles(spans);
        sums.resize(static_cast<std::size_t>(tiles.back()));
        bins = group_bins(spans, hypers.size());
    }
    UpdateTables tables() {
        return {spans.data(), tiles.data(), hypers.data(), &control, static_cast<std::int64_t>(spans.size()),
                tiles.back(), sums.data(),  out.data()};
    }
    TileBins tile_bins() const { return {bins.data(), static_cast<std::int64_t>(bins.size()) - 1}; }

    std::vector<float> values;
    std::vector<GroupHyper> hypers;
    std::vector<UpdateSpan> spans;
    std::vector<std::int64_t> tiles, bins;
    std::vector<SumPair> sums;
    std::vector<double> out{0.0};
    UpdateControl control;
    double max_norm = 0;
};

int launches_of(auto&& call) {
    const int before = launches;
    call();
    return launches - before;
}

TEST(Launches, AreTheSameHoweverManyGroups) {
    for (const int groups : {1, 14, 62, 465}) {
        Tables memory(groups);
        const UpdateTables tables = memory.tables();
        const TileBins bins = memory.tile_bins();
        GroupTelemetry telemetry;
        for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::adam, OptimizerKind::sgd})
            EXPECT_EQ(launches_of([&] { fused_update_cuda(kind, tables, nullptr); }), 1) << groups;
        EXPECT_EQ(launches_of([&] {
                      decide_cuda(memory.out.data(), groups, &memory.max_norm, nullptr, &memory.control, nullptr);
                  }),
                  1);
        EXPECT_EQ(launches_of([&] { telemetry_cuda(tables, bins, &telemetry, nullptr); }), 1) << groups;
        EXPECT_EQ(launches_of([&] { square_sums_cuda(tables, bins, memory.out.data(), nullptr); }), 2) << groups;
        EXPECT_EQ(launches_of([&] { lamb_moments_cuda(tables, bins, memory.out.data(), nullptr); }), 2) << groups;
        EXPECT_EQ(launches_of([&] { lamb_apply_cuda(tables, nullptr); }), 1) << groups;
    }
    EXPECT_EQ(waits, 0) << "no call waits for the device, copies or allocates";
}

}  // namespace
}  // namespace strata::optim
