#include "apps/strata/precision.h"

#include "apps/strata/config_changes.h"
#include "core/error.h"
#include "optim/device.h"

namespace strata::app {
namespace {

constexpr int first_capability = 80;  // as feature_of() says

const char* feature_of(const Bf16Ability& ability) {
    return ability.gpu ? "compute capability 8.0" : "AVX512-BF16";
}

/// "this processor", "the GPU of node2".
std::string name_of(const Bf16Ability& ability) {
    const char* const kind = ability.gpu ? "GPU" : "processor";
    return ability.host.empty() ? fmt::format("this {}", kind) : fmt::format("the {} of {}", kind, ability.host);
}

std::string slow_note(const Bf16Ability& ability) {
    if (ability.has) return "";
    return fmt::format(", though {} does not multiply it ({})", name_of(ability),
                       ability.gpu ? "slow" : "products are made in fp32");
}

optim::ComputeType saved_type(const std::string& saved) {
    const auto entries = saved_entries(saved);
    if (entries.at("fp16") == "true") return optim::ComputeType::fp16;
    return entries.at("bf16").find("true") == std::string::npos ? optim::ComputeType::fp32 : optim::ComputeType::bf16;
}

[[noreturn]] void refuse_stochastic_rounding(const std::string& why) {
    user_error(
        "stochastic_rounding rounds weights to bf16, but {}: say --bf16 true instead, or leave stochastic_rounding out",
        why);
}

struct Choice {
    optim::ComputeType type = optim::ComputeType::fp32;
    std::string why = {};  ///< empty for plain fp32 that was asked for
    std::string otherwise = {};
};

Choice choice_asked_for(const Config& config, const Bf16Ability& ability) {
    using optim::ComputeType;
    if (config.fp16)
        return {ComputeType::fp16, ability.gpu ? "as fp16 says" : "as fp16 says (on a CPU products are made in fp32)"};
    if (config.bf16 == "true") return {ComputeType::bf16, "as bf16 says" + slow_note(ability)};
    return {};
}

Choice choice_by_ability(const Config& config, const Bf16Ability& ability) {
    using optim::ComputeType;
    if (config.tf32.value_or(false)) return {ComputeType::fp32, "since tf32 is for products in fp32"};
    if (!ability.has) {
        return {ComputeType::fp32,
                fmt::format("since {} has no {} to multiply bf16 by; --bf16 true: in bf16 all the same",
                            name_of(ability), feature_of(ability))};
    }
    const std::string why =
        ability.here ? fmt::format("since {} multiplies it ({})", name_of(ability), feature_of(ability))
                     : fmt::format("as for a GPU of {}, since this machine has none to ask", feature_of(ability));
    return {ComputeType::bf16, why, "; --bf16 false: in fp32"};
}

Choice choose(const Config& config, const Bf16Ability& ability, const std::optional<std::string>& saved) {
    if (!chooses_precision(config)) return choice_asked_for(config, ability);
    if (!saved) return choice_by_ability(config, ability);
    const optim::ComputeType type = saved_type(*saved);
    return {type, "as the checkpoint has it" + (type == optim::ComputeType::bf16 ? slow_note(ability) : "")};
}

/// What a network that learns has besides what it computes with.
std::string of_updates(const Config& config, optim::ComputeType type) {
    if (type == optim::ComputeType::fp32) return "";
    if (config.stochastic_rounding) return "; updates round weights stochastically, moments stay fp32";
    const std::string masters = "; weights and moments stay fp32 where they are updated and saved";
    return type == optim::ComputeType::fp16 ? masters + "; the loss is scaled" : masters;
}

/// Writes the type down as if it had been asked for, and says why it is this one.
std::string settled(Config& config, const Choice& choice, const std::string& besides) {
    config.bf16 = choice.type == optim::ComputeType::bf16 ? "true" : "false";
    config.fp16 = choice.type == optim::ComputeType::fp16;
    if (choice.why.empty()) return "";
    return fmt::format("precision: {}, {}{}{}", optim::name_of(choice.type), choice.why, besides, choice.otherwise);
}

}  // namespace

Bf16Ability processor_bf16() {
    Bf16Ability ability;
#if defined(__x86_64__)
    ability.has = __builtin_cpu_supports("avx512bf16") != 0;
#endif
    return ability;
}

Bf16Ability gpu_bf16(int gpu) {
    return {.has = optim::device_facts(gpu).capability >= first_capability, .gpu = true};
}

Bf16Ability planned_bf16(const Config& config) {
    if (config.device == "cpu") return processor_bf16();
    if (optim::device_count() > 0) return gpu_bf16(0);
    if (config.device == "cuda") return {.has = true, .gpu = true, .here = false};
    return processor_bf16();
}

void check_precision(const Config& config) {
    if (config.bf16 == "true" && config.fp16) user_error("bf16 and fp16 are both true; keep one");
    if (config.stochastic_rounding && (config.fp16 || config.bf16 == "false"))
        refuse_stochastic_rounding(config.fp16 ? "fp16 is true" : "bf16 is false");
    if ((config.bf16 == "true" || config.fp16 || config.stochastic_rounding) && !config.torchscript.empty()) {
        user_error(
            "{} is for models that strata builds itself; a --torchscript module computes in the types it was "
            "saved with",
            config.fp16             ? "fp16"
            : config.bf16 == "true" ? "bf16"
                                    : "stochastic_rounding");
    }
}

bool chooses_precision(const Config& config) {
    return config.bf16 == "auto" && !config.fp16 && config.torchscript.empty();
}

std::string settle_precision(Config& config, const Bf16Ability& ability, const std::optional<std::string>& saved) {
    const Choice choice = choose(config, ability, saved);
    if (config.stochastic_rounding && choice.type != optim::ComputeType::bf16) {
        refuse_stochastic_rounding(fmt::format("this run computes in {}, {}", optim::name_of(choice.type), choice.why));
    }
    return settled(config, choice, of_updates(config, choice.type));
}

std::string settle_inference_precision(Config& config, const Bf16Ability& ability) {
    return settled(config, choose(config, ability, std::nullopt), "");
}

optim::ComputeType compute_type(const Config& config) {
    STRATA_CHECK(config.bf16 != "auto", "planning before bf16 = auto is settled");
    if (config.fp16) return optim::ComputeType::fp16;
    return config.bf16 == "true" ? optim::ComputeType::bf16 : optim::ComputeType::fp32;
}

}  // namespace strata::app
