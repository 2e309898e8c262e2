// Which type the network computes in: --bf16, --fp16, --tf32, which mean what they mean to transformers; bf16 = "auto",
// the default, is settled once, by what computes or by the checkpoint that the run goes on from. And whether updates in
// bf16 keep fp32 masters or round stochastically: --stochastic_rounding.
#pragma once

#include <optional>
#include <string>

#include "apps/strata/config.h"
#include "optim/compute_type.h"

namespace strata::app {

/// Whether what computes multiplies bf16: a processor with AVX512-BF16, which every one with AMX-BF16 has too; a GPU of
/// compute capability 8.0 (Ampere) or more.
struct Bf16Ability {
    bool has = false;
    bool gpu = false;       ///< else a processor
    bool here = true;       ///< else assumed of the machine that is planned for
    std::string host = {};  ///< whose lacks it; empty: this one
};

Bf16Ability processor_bf16();
/// `gpu` is one of optim::device_count().
Bf16Ability gpu_bf16(int gpu);
/// Of what a run on this machine would compute on, as --device says. A GPU that it asks for and that is not here is
/// taken for one that multiplies bf16.
Bf16Ability planned_bf16(const Config& config);

/// UserError where the flags contradict one another or ask for what the model or this machine cannot do.
void check_precision(const Config& config);

/// True where bf16 = "auto" has a choice: fp16 is one already, and a TorchScript module has its own types.
bool chooses_precision(const Config& config);

/// Puts the answer in the place of "auto", so that a run's configuration says what it did, and returns a line that says
/// what was chosen and why; empty for plain fp32 that was asked for. A run that goes on from a checkpoint with the
/// configuration `saved` (to_toml's text) takes its type for "auto", whatever computes now. UserError where stochastic
/// rounding was asked for and the answer is not bf16.
std::string settle_precision(Config& config, const Bf16Ability& ability,
                             const std::optional<std::string>& saved = std::nullopt);

/// The same for evaluate and predict, which choose as a run does that starts here, and update nothing.
std::string settle_inference_precision(Config& config, const Bf16Ability& ability);

/// bf16 must be settled.
optim::ComputeType compute_type(const Config& config);

}  // namespace strata::app
