#include "apps/strata/precision.h"

#include <utility>

#include "core/error.h"

namespace strata::app {
namespace {

/// AVX512-BF16, which every processor with AMX-BF16 has, too. LibTorch's products use whichever is there.
bool processor_has_bf16() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16") != 0;
#else
    return false;
#endif
}

}  // namespace

void check_precision(const Config& config) {
    if (config.bf16 == "true" && config.fp16) user_error("bf16 and fp16 are both true; keep one");
    if ((config.bf16 == "true" || config.fp16) && !config.torchscript.empty()) {
        user_error(
            "{} is for models that strata builds itself; a --torchscript module computes in the types it was "
            "saved with",
            config.fp16 ? "fp16" : "bf16");
    }
}

optim::ComputeType compute_type(const Config& config) {
    if (config.fp16) return optim::ComputeType::fp16;
    const bool chooses = config.bf16 == "auto" && config.torchscript.empty();  // a module has its own types
    const bool bf16 = config.bf16 == "true" || (chooses && processor_has_bf16());
    return bf16 ? optim::ComputeType::bf16 : optim::ComputeType::fp32;
}

std::string settle_precision(Config& config) {
    const optim::ComputeType type = compute_type(config);
    const std::string asked = std::exchange(config.bf16, type == optim::ComputeType::bf16 ? "true" : "false");
    const char* const masters = "weights and moments stay fp32 where they are updated and saved";
    if (type == optim::ComputeType::fp16) {
        return fmt::format("precision: fp16, as fp16 says; {}; the loss is scaled", masters);
    }
    if (type == optim::ComputeType::bf16 && asked == "auto") {
        return fmt::format("precision: bf16, since this processor multiplies it (AVX512-BF16); {}", masters);
    }
    if (type == optim::ComputeType::bf16) {
        return fmt::format("precision: bf16, as bf16 says{}; {}",
                           processor_has_bf16() ? "" : ", though this processor does not multiply it (slow)", masters);
    }
    if (asked == "auto" && config.torchscript.empty()) {
        return "precision: fp32, since bf16 = auto found no AVX512-BF16 in this processor";
    }
    return "";
}

}  // namespace strata::app
