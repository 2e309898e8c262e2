#include "optim/cuda_check.h"

#include "core/error.h"

namespace strata::optim {

void cuda_failed(const char* call, const char* error_name, const char* error_text, const char* file, int line) {
    system_error("{}:{}: {} failed: {} ({})", file, line, call, error_name, error_text);
}

}  // namespace strata::optim
