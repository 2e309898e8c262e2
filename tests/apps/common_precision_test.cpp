// Ranks whose processors or GPUs differ agree on one precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/strata/device.h"
#include "dist/mpi_communicator.h"

namespace strata::app {
namespace {

using testing::HasSubstr;

class CommonPrecision : public testing::Test {
  protected:
    /// The line and the choice of every rank, where those for which `has` is true multiply bf16.
    template <typename Has>
    std::string line_where(Has has, bool gpu = false) {
        config_.bf16 = "auto";
        const Bf16Ability own{.has = has(communicator_.rank()), .gpu = gpu};
        return settle_precision(config_, common_bf16(own, communicator_));
    }

    void expect_fp32_everywhere(const std::string& line) {
        EXPECT_EQ(config_.bf16, "false");
        EXPECT_THAT(line, HasSubstr("of " + communicator_.host() + " has no "));
        const auto lines = communicator_.all_gather_bytes(line);
        EXPECT_THAT(lines, testing::Each(line));
    }

    dist::MpiCommunicator communicator_;
    Config config_;
};

TEST_F(CommonPrecision, is_bf16_where_every_rank_multiplies_it) {
    EXPECT_THAT(line_where([](int) { return true; }), HasSubstr("precision: bf16, since this processor multiplies"));
    EXPECT_EQ(config_.bf16, "true");
    EXPECT_THAT(line_where([](int) { return true; }, true), HasSubstr("this GPU multiplies it (compute capability"));
}

TEST_F(CommonPrecision, is_fp32_where_one_rank_does_not_whichever_it_is) {
    for (int lacking = 0; lacking < communicator_.size(); ++lacking) {
        for (const bool gpu : {false, true}) {
            const std::string line = line_where([&](int rank) { return rank != lacking; }, gpu);
            expect_fp32_everywhere(line);
            EXPECT_THAT(line, HasSubstr(gpu ? "the GPU of" : "the processor of"));
        }
    }
}

TEST_F(CommonPrecision, is_what_was_asked_for_all_the_same) {
    config_.bf16 = "true";
    const Bf16Ability own{.has = communicator_.rank() > 0};
    const std::string line = settle_precision(config_, common_bf16(own, communicator_));
    EXPECT_EQ(config_.bf16, "true");
    EXPECT_THAT(line, HasSubstr("of " + communicator_.host() + " does not multiply it (products are made in fp32)"));
}

}  // namespace
}  // namespace strata::app
