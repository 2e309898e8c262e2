#include "apps/strata/resuming.h"

#include <cstdio>

#include "apps/strata/config_changes.h"
#include "apps/strata/train_progress.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/checkpoint.h"

namespace strata::app {
namespace fs = std::filesystem;

std::optional<fs::path> checkpoint_to_resume(const Config& config, dist::MpiCommunicator& communicator) {
    if (config.resume_from_checkpoint.empty()) return std::nullopt;
    if (config.resume_from_checkpoint != "auto") return fs::path(config.resume_from_checkpoint);
    const auto warn = [](const std::string& message) { std::fprintf(stderr, "strata: %s\n", message.c_str()); };
    return dist::newest_valid_checkpoint(communicator, config.output_dir, warn);
}

std::int64_t check_resumable(const fs::path& checkpoint, const Config& config, const optim::Plan& plan,
                             const RunLength& length) {
    const dist::StateFile file = dist::open_checkpoint_state(checkpoint);
    const auto& header = file.header();
    const std::string changes = config_changes(header.effective_config, config);
    if (config.allow_changes) return header.step;
    if (header.update_hash != plan.update_hash() || !changes.empty()) {
        user_error(
            "{}: was made with another configuration:{}\nGo on with the one it was made with, or say "
            "--allow_changes true to go on with this one",
            checkpoint.string(), changes.empty() ? "\n  the plan of groups and rates" : changes);
    }
    const std::int64_t samples = progress_from_json(header.train, checkpoint.string()).global_batch_size;
    if (samples != length.global_batch_size) {
        user_error(
            "{}: its updates were made from {} samples each, this run's from {}; choose ranks, "
            "per_device_train_batch_size and gradient_accumulation_steps so that their product stays {}, or say "
            "--allow_changes true",
            checkpoint.string(), samples, length.global_batch_size, samples);
    }
    return header.step;
}

}  // namespace strata::app
