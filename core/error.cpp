#include "core/error.h"

#include <cerrno>
#include <cstring>

namespace strata {

void throw_errno(const std::string& action) {
    const int code = errno;
    if (code == ENOSPC || code == EDQUOT)
        user_error("{}: {}; make room there, or write to another place", action, std::strerror(code));
    system_error("{}: {}", action, std::strerror(code));
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
    throw std::logic_error(
        fmt::format("{}:{}: {} (this is a bug in strata: {} does not hold)", file, line, message, condition));
}

}  // namespace strata
