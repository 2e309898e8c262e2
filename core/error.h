// The two ways things go wrong, kept apart.
//
// UserError: the user's input is wrong (a file, a flag, a configuration). It ends the program with exit code 2 and one
// message that says what is wrong, where, and what to do. SystemError: the machine would not do its part (a disk, a
// peer, a library); exit code 1. A bug is neither: STRATA_CHECK throws std::logic_error naming the file and line.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace strata {

class UserError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class SystemError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Throws UserError with a formatted message: user_error("{}:{}: 3 columns, expected 4", file, line).
template <typename... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format, Args&&... args) {
    throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws SystemError with a formatted message.
template <typename... Args>
[[noreturn]] void system_error(fmt::format_string<Args...> format, Args&&... args) {
    throw SystemError(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws SystemError: the action, then errno's own words. A full disk or quota is the user's to mend: UserError. Call
/// it right after the failing call.
[[noreturn]] void throw_errno(const std::string& action);

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace strata

/// For invariants that only a bug can break; never for input.
#define STRATA_CHECK(condition, ...)                                                            \
    do {                                                                                        \
        if (!(condition)) [[unlikely]] {                                                        \
            ::strata::check_failed(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
        }                                                                                       \
    } while (false)
