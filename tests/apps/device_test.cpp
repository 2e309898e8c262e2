#include "apps/strata/device.h"

#include <ATen/Context.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace strata::app {
namespace {

bool allows_tf32() {
    return at::globalContext().allowTF32CuBLAS();
}

TEST(Device, Tf32IsWhatTheConfigurationSaysOfAGpu) {
    const torch::Device gpu(torch::kCUDA, 0);
    Config config;
    const bool before = allows_tf32();
    allow_tf32(config, gpu);
    EXPECT_EQ(allows_tf32(), before);
    for (const bool says : {true, false}) {
        config.tf32 = says;
        allow_tf32(config, gpu);
        EXPECT_EQ(allows_tf32(), says);
    }
}

TEST(Device, Tf32OnTheCpuIsRefused) {
    Config config;
    allow_tf32(config, torch::kCPU);
    config.tf32 = false;
    allow_tf32(config, torch::kCPU);
    config.tf32 = true;
    EXPECT_THROW(allow_tf32(config, torch::kCPU), UserError);
}

TEST(Device, CudaGraphsAreForGpusThatAreAskedForThem) {
    const torch::Device gpu(torch::kCUDA, 0);
    Config config;
    for (const char* says : {"false", "auto"}) {
        config.cuda_graph = says;
        EXPECT_FALSE(captures_updates(config, gpu));
        EXPECT_FALSE(captures_updates(config, torch::kCPU));
    }
    config.cuda_graph = "true";
    EXPECT_TRUE(captures_updates(config, gpu));
    EXPECT_THROW(captures_updates(config, torch::kCPU), UserError);
    EXPECT_EQ(compute_stream(torch::kCPU), nullptr);
}

/// LibTorch's CUDA half comes with it, and asks for no driver yet.
TEST(Device, WhatCapturesPassesCanBeLoaded) {
    if (!has_pass_recordings()) GTEST_SKIP() << "built without LibTorch's CUDA half";
    EXPECT_TRUE(pass_recordings());
}

}  // namespace
}  // namespace strata::app
