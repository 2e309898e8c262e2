#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace strata {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Error, user_errors_are_formatted) {
    EXPECT_THAT([] { user_error("{}:{}: {} columns", "a.tsv", 3, 1); }, ThrowsMessage<UserError>("a.tsv:3: 1 columns"));
}

TEST(Error, errno_speaks_its_own_words) {
    EXPECT_THAT(
        [] {
            errno = ENOSPC;
            throw_errno("x.h5: cannot be written");
        },
        ThrowsMessage<SystemError>("x.h5: cannot be written: No space left on device"));
}

TEST(Error, a_failed_check_names_condition_and_place) {
    EXPECT_THAT([] { STRATA_CHECK(1 > 2, "sizes {} and {}", 1, 2); },
                ThrowsMessage<std::logic_error>(
                    testing::AllOf(HasSubstr("error_test.cpp:"), HasSubstr("sizes 1 and 2"), HasSubstr("1 > 2"))));
}

}  // namespace
}  // namespace strata
