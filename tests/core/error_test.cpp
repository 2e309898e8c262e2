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
            errno = EIO;
            throw_errno("x.h5: cannot be written");
        },
        ThrowsMessage<SystemError>("x.h5: cannot be written: Input/output error"));
}

TEST(Error, a_full_disk_or_quota_is_the_users_to_mend) {
    for (const int code : {ENOSPC, EDQUOT}) {
        EXPECT_THAT(
            [code] {
                errno = code;
                throw_errno("x.h5: cannot be written");
            },
            ThrowsMessage<UserError>(
                testing::AllOf(HasSubstr("x.h5: cannot be written: "), HasSubstr("make room there"))));
    }
}

TEST(Error, a_failed_check_names_condition_and_place) {
    EXPECT_THAT([] { STRATA_CHECK(1 > 2, "sizes {} and {}", 1, 2); },
                ThrowsMessage<std::logic_error>(
                    testing::AllOf(HasSubstr("error_test.cpp:"), HasSubstr("sizes 1 and 2"), HasSubstr("1 > 2"))));
}

}  // namespace
}  // namespace strata
