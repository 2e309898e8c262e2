#include "dist/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/mpi_communicator.h"

namespace strata::dist {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Agreement : public ::testing::Test {
  protected:
    int last() const { return communicator_.size() - 1; }
    bool is_last() const { return communicator_.rank() == last(); }

    /// The message of the AgreedUserError that `action` throws, after checking that all ranks got the same.
    std::string agreed_user_error(const std::function<void()>& action) {
        std::string message = "nothing thrown";
        try {
            action();
        } catch (const AgreedUserError& error) {
            EXPECT_TRUE(is_agreed(error));
            message = error.what();
        }
        for (const auto& other : communicator_.all_gather_bytes(message)) EXPECT_EQ(other, message);
        return message;
    }

    MpiCommunicator communicator_;
};

TEST_F(Agreement, EqualValuesPass) {
    EXPECT_NO_THROW(require_equal_everywhere(communicator_, "the plan", 17u));
    EXPECT_NO_THROW(require_equal_everywhere(communicator_, "the configuration", "a = 1\nb = 2\n"));
}

TEST_F(Agreement, TheOddRankIsNamedWithItsFirstDifferentLine) {
    if (communicator_.size() < 2) GTEST_SKIP() << "needs two ranks";
    const std::string own = is_last() ? "seed = 1\nlearning_rate = 3e-5\n" : "seed = 1\nlearning_rate = 2e-5\n";
    const std::string message =
        agreed_user_error([&] { require_equal_everywhere(communicator_, "the configuration", own); });
    EXPECT_THAT(message, AllOf(HasSubstr("the configuration"), HasSubstr(fmt::format("rank {} on ", last())),
                               HasSubstr(communicator_.host()), HasSubstr("learning_rate = 3e-5"),
                               HasSubstr("learning_rate = 2e-5"), Not(HasSubstr("seed"))));
    for (int rank = 0; rank < last(); ++rank) EXPECT_THAT(message, Not(HasSubstr(fmt::format("rank {} on", rank))));
}

TEST_F(Agreement, ATextThatEndsEarlyDiffersToo) {
    if (communicator_.size() < 2) GTEST_SKIP() << "needs two ranks";
    const std::string own = is_last() ? "seed = 1\n" : "seed = 1\nepochs = 3\n";
    EXPECT_THAT(agreed_user_error([&] { require_equal_everywhere(communicator_, "it", own); }),
                HasSubstr("'nothing' against 'epochs = 3'"));
}

TEST_F(Agreement, DifferentHashesAreRefused) {
    if (communicator_.size() < 2) GTEST_SKIP() << "needs two ranks";
    const std::uint64_t own = is_last() ? 1 : 2;
    EXPECT_THAT(agreed_user_error([&] { require_equal_everywhere(communicator_, "the plan", own); }),
                HasSubstr("the plan"));
}

TEST_F(Agreement, EachRankHasADeviceOfItsOwn) {
    const std::string own = fmt::format("GPU-{}", communicator_.rank());
    EXPECT_NO_THROW(require_own_devices(communicator_, std::nullopt));
    EXPECT_NO_THROW(require_own_devices(communicator_, DeviceIdentity{own, "H200"}));
    if (communicator_.size() < 2) GTEST_SKIP() << "needs two ranks";
    EXPECT_THAT(
        agreed_user_error([&] {
            require_own_devices(communicator_, DeviceIdentity{"GPU-0", "H200"});
        }),
        AllOf(HasSubstr("ranks 0 and 1 on " + communicator_.host()), HasSubstr("GPU-0"), HasSubstr("one rank a GPU")));
    EXPECT_THAT(agreed_user_error([&] {
                    require_own_devices(communicator_, DeviceIdentity{own, is_last() ? "A100" : "H200"});
                }),
                AllOf(HasSubstr("the GPU"), HasSubstr("'A100' against 'H200'")));
    std::optional<DeviceIdentity> some;
    if (!is_last()) some = {own, "H200"};
    EXPECT_THAT(agreed_user_error([&] { require_own_devices(communicator_, some); }), HasSubstr("'no GPU' against"));
}

TEST_F(Agreement, CollectivelyReturnsEachRanksResult) {
    EXPECT_EQ(collectively(communicator_, "adding", [&] { return communicator_.rank() + 1; }),
              communicator_.rank() + 1);
    bool ran = false;
    collectively(communicator_, "running", [&] { ran = true; });
    EXPECT_TRUE(ran);
}

TEST_F(Agreement, OneRanksErrorReachesAll) {
    const std::string message = agreed_user_error([&] {
        collectively(communicator_, "reading the training file", [&] {
            if (is_last()) user_error("train.tsv:3: too few columns");
        });
    });
    EXPECT_THAT(message, HasSubstr("train.tsv:3: too few columns"));
    const auto origin = HasSubstr(fmt::format("rank {} on {}", last(), communicator_.host()));
    if (communicator_.size() > 1) {
        EXPECT_THAT(message, AllOf(origin, HasSubstr("reading the training file")));
    } else {
        EXPECT_THAT(message, Not(origin)) << "alone there is no one else to tell apart";
    }
}

TEST_F(Agreement, OfDifferentErrorsTheLowestRanksIsTold) {
    if (communicator_.size() < 2) GTEST_SKIP() << "needs two ranks";
    const std::string message = agreed_user_error([&] {
        collectively(communicator_, "reading", [&] {
            if (communicator_.rank() > 0) system_error("disk full");
            user_error("no such file: x");
        });
    });
    EXPECT_THAT(message, AllOf(HasSubstr("rank 0 on "), HasSubstr("no such file: x"), Not(HasSubstr("disk full"))));
}

TEST_F(Agreement, AnErrorThatAllShareIsToldOnceWithoutRanks) {
    EXPECT_EQ(agreed_user_error([&] { collectively(communicator_, "reading", [] { user_error("no such file: x"); }); }),
              "no such file: x");
}

TEST_F(Agreement, TheMachinesErrorsStaySystemErrors) {
    EXPECT_THROW(collectively(communicator_, "saving",
                              [&]() -> int {
                                  if (is_last()) system_error("disk full");
                                  return 1;
                              }),
                 AgreedSystemError);
    EXPECT_THROW(collectively(communicator_, "working",
                              [&] {
                                  if (is_last()) STRATA_CHECK(false, "a bug");
                              }),
                 AgreedSystemError);
}

TEST_F(Agreement, AnAgreedErrorPassesThroughAsItIs) {
    EXPECT_EQ(agreed_user_error([&] {
                  collectively(communicator_, "outer",
                               [&] { collectively(communicator_, "inner", [] { user_error("both"); }); });
              }),
              "both");
}

}  // namespace
}  // namespace strata::dist
