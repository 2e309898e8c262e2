#include "optim/device.h"

#include "bert_manifest.h"
#include "core/error.h"
#include "optim/cuda_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Device, CountsNoGpuWithoutCuda) {
    EXPECT_GE(device_count(), 0);
    EXPECT_TRUE(cuda_built() || device_count() == 0);
#ifdef STRATA_WITH_CUDA
    EXPECT_TRUE(cuda_built());
#else
    EXPECT_FALSE(cuda_built());
#endif
}

TEST(Device, KnowsWhatItsGpusAre) {
    if (device_count() == 0) GTEST_SKIP() << "no GPU here";
    for (int gpu = 0; gpu < device_count(); ++gpu) {
        const DeviceFacts facts = device_facts(gpu);
        EXPECT_THAT(facts.uuid, ::testing::StartsWith("GPU-"));
        EXPECT_GE(facts.capability, 50) << facts.name;
        EXPECT_LT(facts.capability, 200) << facts.name;
    }
}

// The macro, on stand-ins for the runtime's types, which are there with or without CUDA.
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
const char* cudaGetErrorName(cudaError_t) {
    return "cudaErrorInvalidValue";
}
const char* cudaGetErrorString(cudaError_t) {
    return "invalid argument";
}
cudaError_t fails_on(int what) {
    return what;
}

TEST(CudaCheck, TellsCallErrorAndPlace) {
    EXPECT_NO_THROW(STRATA_CUDA_CHECK(fails_on(0)));
    EXPECT_THAT(testing::message_of<SystemError>([] { STRATA_CUDA_CHECK(fails_on(1)); }),
                AllOf(HasSubstr("fails_on(1)"), HasSubstr("cudaErrorInvalidValue"), HasSubstr("invalid argument"),
                      HasSubstr("device_test.cpp:")));
}

}  // namespace
}  // namespace strata::optim
