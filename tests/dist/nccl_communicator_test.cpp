// What NCCL's communicator does beside the promises of all (communicators_test.cpp), over NCCL's stand-in: how it
// orders streams, coalesces, watches and fails. No GPU is needed.
#include "dist/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/error.h"
#include "dist/mpi_communicator.h"
#include "nccl_backends.h"
#include "nccl_stand_in.h"
#include "tests/support/cuda_stand_in.h"

namespace strata::dist::testing {

std::vector<BackendCase> backends() {
    return nccl_cases(nccl_stand_in, 0, "");
}

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

const bool twins_added = (add_parts_twins(), true);

class Nccl : public ::testing::Test {
  protected:
    ~Nccl() override { nccl_faults() = {}; }

    NcclBackend backend(NcclOptions options = {}) { return {nccl_stand_in(), options}; }
    static NcclOptions hasty() {
        NcclOptions options;
        options.limits = {100ms, 10ms};
        return options;
    }

    template <typename Action>
    static std::string message_of(Action&& action) {
        try {
            action();
        } catch (const SystemError& error) {
            return error.what();
        }
        return "no error";
    }
};

TEST_F(Nccl, TheHostDoesNotStop) {
    NcclBackend gpu = backend();
    Values<float> buffer(gpu, std::vector<float>(512, 1.0F));
    const auto waits = testing_support::host_waits();
    for (int round = 0; round < 3; ++round) gpu.communicator().all_reduce_sum(buffer.view(ElementType::float32)).wait();
    EXPECT_EQ(testing_support::host_waits(), waits);
    const auto n = static_cast<float>(gpu.communicator().size());
    EXPECT_THAT(buffer.values(), Each(n * n * n));
}

TEST_F(Nccl, TheComputeStreamGoesOnAfterTheOperationOnlyOnceItIsWaitedFor) {
    NcclBackend gpu = backend();
    const auto n = static_cast<float>(gpu.communicator().size());
    Values<float> buffer(gpu, std::vector<float>(64, 1.0F));
    Pending sum = gpu.communicator().all_reduce_sum(buffer.view(ElementType::float32));
    EXPECT_THAT(buffer.values(), Each(1.0F)) << "the stand-in is lazy: nobody has asked for the sum";
    sum.wait();
    const std::vector<float> zeros(64, 0.0F);
    Values<float> copy(gpu, std::vector<float>(64, -1.0F));
    optim::copy_bytes(copy.data(), buffer.data(), 64 * sizeof(float), nullptr);
    gpu.copy_to(buffer.data(), zeros.data(), 64 * sizeof(float));  // compute's, and after the sum
    EXPECT_THAT(buffer.values(), Each(0.0F));
    EXPECT_THAT(copy.values(), Each(n));
}

TEST_F(Nccl, SeveralPiecesAreOneGroupAndTwoKernels) {
    NcclBackend gpu = backend();
    std::vector<Values<float>> memory;
    std::vector<PartedView> gathered;
    std::vector<SummedParts> summed;
    for (int i = 0; i < 40; ++i) {
        memory.emplace_back(gpu, std::vector<float>(static_cast<std::size_t>(8 * gpu.communicator().size()), 1.0F));
        gathered.push_back(memory.back().parts(5, 8, ElementType::float32));
        summed.push_back({gathered.back(), nullptr});
    }
    const auto spent = [&](auto&& action) {
        const int groups = nccl_counts().groups;
        const auto kernels = testing_support::kernel_launches();
        action();
        return std::pair(nccl_counts().groups - groups, static_cast<int>(testing_support::kernel_launches() - kernels));
    };
    EXPECT_EQ(spent([&] { gpu.communicator().all_gather(gathered).wait(); }), std::pair(1, 2));
    EXPECT_EQ(spent([&] { gpu.communicator().reduce_scatter_sum(summed).wait(); }), std::pair(1, 2));
    const PartedView whole = memory.front().parts(8, 8, ElementType::float32);
    EXPECT_EQ(spent([&] { gpu.communicator().all_gather(whole).wait(); }), std::pair(1, 0)) << "as it lies";
    EXPECT_EQ(spent([&] { gpu.communicator().reduce_scatter_sum(whole).wait(); }), std::pair(1, 0)) << "as it lies";
}

TEST_F(Nccl, OrderedSumsAreTheSameBitsEveryTimeAndEverywhere) {
    NcclOptions options;
    options.ordered_sums = true;
    NcclBackend gpu = backend(options);
    Communicator& communicator = gpu.communicator();
    std::vector<float> own;
    for (int i = 0; i < 1001; ++i) own.push_back(1.0F / static_cast<float>(i * 7 + communicator.rank() + 3));
    std::vector<float> expected(own.size(), 0.0F);
    for (std::size_t i = 0; i < own.size(); ++i) {
        for (int r = 0; r < communicator.size(); ++r)
            expected[i] += 1.0F / static_cast<float>(static_cast<int>(i) * 7 + r + 3);
    }
    Values<float> buffer(gpu, own);
    communicator.all_reduce_sum(buffer.view(ElementType::float32)).wait();
    EXPECT_EQ(buffer.values(), expected);
}

TEST_F(Nccl, HostMemoryAndTwoTypesAreBugs) {
    NcclBackend gpu = backend();
    std::vector<float> host(4);
    EXPECT_THROW(gpu.communicator().all_reduce_sum(BufferView::of(host)), std::logic_error);
    Values<double> doubles(gpu, std::vector<double>(16));
    const std::vector<PartedView> mixed{doubles.parts(1, 1, ElementType::float64),
                                        doubles.parts(1, 1, ElementType::float32)};
    EXPECT_THROW(gpu.communicator().all_gather(mixed), std::logic_error);
}

TEST_F(Nccl, ItSharesTheActivityOfTheOneItIsMadeFrom) {
    auto small = std::make_unique<MpiCommunicator>();
    const auto activity = small->shared_activity();
    NcclCommunicator communicator(std::move(small), nccl_stand_in(), {});
    communicator.activity().enter("update 3");
    EXPECT_EQ(activity->look().text(), "update 3");
    const auto waits = activity->look().waits;
    communicator.barrier();
    EXPECT_EQ(activity->look().waits, waits + 1) << "one wait, not one of each";
}

TEST_F(Nccl, EndsInGoodOrder) {
    const NcclCounts before = nccl_counts();
    { NcclBackend gpu = backend(); }
    EXPECT_EQ(nccl_counts().destroyed, before.destroyed + 1);
    EXPECT_EQ(nccl_counts().aborts, before.aborts);
}

TEST_F(Nccl, RanksThatDoNotComeEndTheStartInTime) {
    nccl_faults().never_connects = true;
    const auto began = std::chrono::steady_clock::now();
    const std::string message = message_of([&] { backend(hasty()); });
    EXPECT_THAT(message, AllOf(HasSubstr("rank "), HasSubstr("start of NCCL"),
                               HasSubstr("the other ranks did not come within 0.1 s")));
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

TEST_F(Nccl, AnOperationThatDoesNotEndIsAbortedInTimeAndFreesTheHost) {
    NcclBackend gpu = backend(hasty());
    gpu.communicator().activity().enter("update 17");
    gpu.communicator().activity().enter_part("backward");
    Values<float> buffer(gpu, std::vector<float>(64, 1.0F));
    nccl_faults().never_ends = true;
    const int aborts = nccl_counts().aborts;
    Pending sum = gpu.communicator().all_reduce_sum(buffer.view(ElementType::float32));
    sum.wait();       // the host goes on,
    buffer.values();  // stops for its stream, and is freed by the abort
    EXPECT_EQ(nccl_counts().aborts, aborts + 1);
    const std::string message =
        message_of([&] { gpu.communicator().all_reduce_sum(buffer.view(ElementType::float32)); });
    EXPECT_THAT(message, AllOf(HasSubstr("rank " + std::to_string(gpu.communicator().rank())),
                               HasSubstr(gpu.communicator().host()), HasSubstr("in update 17, backward"),
                               HasSubstr("NCCL's all-reduce failed"), HasSubstr("not done after 0.1 s")));
    EXPECT_EQ(message_of([&] { gpu.communicator().barrier(); }), message) << "small operations are over too";
}

TEST_F(Nccl, AnErrorOfTheStateIsFoundWhileNobodyCalls) {
    NcclBackend gpu = backend(hasty());
    const int aborts = nccl_counts().aborts;
    nccl_faults().error_of_state = ncclRemoteError;
    const auto limit = std::chrono::steady_clock::now() + 5s;
    while (nccl_counts().aborts == aborts && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(nccl_counts().aborts, aborts + 1);
    EXPECT_THAT(
        message_of([&] { gpu.communicator().barrier(); }),
        AllOf(HasSubstr("remote process exited or there was a network error"), HasSubstr("the stand-in's last words")));
}

TEST_F(Nccl, AGroupThatIsRefusedIsAnErrorAtOnce) {
    NcclBackend gpu = backend();
    Values<float> buffer(gpu, std::vector<float>(4 * static_cast<std::size_t>(gpu.communicator().size())));
    nccl_faults().error_of_group = ncclRemoteError;
    EXPECT_THAT(message_of([&] { gpu.communicator().all_gather(buffer.parts(4, 4, ElementType::float32)); }),
                AllOf(HasSubstr("NCCL's all-gather failed"), HasSubstr("remote process exited")));
}

}  // namespace
}  // namespace strata::dist::testing
