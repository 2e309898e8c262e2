// Every rank runs these, for any number of ranks.
#include "dist/shared_buffers.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "dist/mpi_communicator.h"

namespace strata::dist {
namespace {

struct Buffers {
    torch::Tensor mean = torch::zeros({3});
    torch::Tensor table = torch::rand({64}, at::make_generator<at::CPUGeneratorImpl>(7));
    torch::Tensor batches = torch::zeros({}, torch::kInt64);
    NamedParameters named() { return {{"mean", mean}, {"batches", batches}, {"table", table}}; }
};

TEST(SharedBuffers, floats_become_the_mean_by_samples_and_integers_the_last_ranks) {
    MpiCommunicator communicator;
    Buffers buffers;
    SharedBuffers shared(buffers.named(), communicator);
    const torch::Tensor table = buffers.table.clone();
    const int rank = communicator.rank();
    const int last = communicator.size() - 1;
    buffers.mean.fill_(static_cast<double>(rank + 1));
    buffers.batches.fill_(10 * rank);
    shared.settle(rank + 1, false);  // Σ (r+1)² / Σ (r+1) = (2N+1)/3
    EXPECT_NEAR(buffers.mean[1].item<double>(), (2.0 * communicator.size() + 1) / 3, 1e-6);
    EXPECT_EQ(buffers.batches.item<std::int64_t>(), 10 * last);
    EXPECT_TRUE(torch::equal(buffers.table, table)) << "what all share stays, bit for bit";
}

TEST(SharedBuffers, a_rank_without_samples_has_no_say) {
    MpiCommunicator communicator;
    Buffers buffers;
    SharedBuffers shared(buffers.named(), communicator);
    const bool last = communicator.rank() == communicator.size() - 1;
    buffers.mean.fill_(last ? 4.0 : std::numeric_limits<double>::quiet_NaN());
    shared.settle(last ? 2 : 0, false);
    EXPECT_TRUE(torch::equal(buffers.mean, torch::full({3}, 4.0)));
}

TEST(SharedBuffers, a_skipped_update_leaves_them) {
    MpiCommunicator communicator;
    Buffers buffers;
    SharedBuffers shared(buffers.named(), communicator);
    buffers.mean.fill_(1.0);
    shared.settle(1, false);
    buffers.mean.fill_(std::numeric_limits<double>::infinity());
    buffers.batches.fill_(7);
    shared.settle(1, true);
    EXPECT_TRUE(torch::equal(buffers.mean, torch::full({3}, 1.0)));
    EXPECT_EQ(buffers.batches.item<std::int64_t>(), 0);
    buffers.mean.fill_(2.0);  // as if loaded
    shared.adopt();
    buffers.mean.fill_(3.0);
    shared.settle(1, true);
    EXPECT_TRUE(torch::equal(buffers.mean, torch::full({3}, 2.0)));
}

TEST(SharedBuffers, without_buffers_nothing_is_sent) {
    MpiCommunicator communicator;
    SharedBuffers shared({}, communicator);
    const auto before = communicator.traffic();
    shared.settle(1, false);
    EXPECT_EQ((communicator.traffic() - before).calls(), 0);
}

}  // namespace
}  // namespace strata::dist
