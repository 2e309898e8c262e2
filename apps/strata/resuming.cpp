#include "apps/strata/resuming.h"

#include <cstdio>

#include "apps/strata/config_changes.h"
#include "apps/strata/threads.h"
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

std::optional<dist::TrainHeader> saved_header(const std::optional<fs::path>& checkpoint,
                                              dist::Communicator& communicator) {
    if (!checkpoint) return std::nullopt;
    return dist::collectively(communicator, "reading the checkpoint",
                              [&] { return dist::open_checkpoint_state(*checkpoint).header(); });
}

namespace {

/// What the bits of a deterministic run depend on, though its configuration may change.
void require_same_bits(const fs::path& checkpoint, const TrainProgress& progress, const RunLength& length) {
    if (progress.micro_batches != length.micro_batches) {
        user_error(
            "{}: its updates were cut into {} micro-batches, this run's into {}; say micro_batches = {}, or "
            "--allow_changes true to go on with other bits",
            checkpoint.string(), progress.micro_batches, length.micro_batches, progress.micro_batches);
    }
    if (progress.threads != thread_count()) {
        user_error(
            "{}: was made with {} thread(s) a rank, this run has {}, and a deterministic run's bits depend on them; "
            "set "
            "OMP_NUM_THREADS={}, or say --allow_changes true to go on with other bits",
            checkpoint.string(), progress.threads, thread_count(), progress.threads);
    }
}

void require_unchanged(const fs::path& checkpoint, const dist::TrainHeader& header, const Config& config,
                       const optim::Plan& plan, const RunLength& length) {
    const std::string changes = config_changes(header.effective_config, config);
    if (header.update_hash != plan.update_hash() || !changes.empty()) {
        user_error(
            "{}: was made with another configuration:{}\nGo on with the one it was made with, or say "
            "--allow_changes true to go on with this one",
            checkpoint.string(), changes.empty() ? "\n  the plan of groups and rates" : changes);
    }
    const TrainProgress progress = progress_from_json(header.train, checkpoint.string());
    if (progress.global_batch_size != length.global_batch_size) {
        user_error(
            "{}: its updates were made from {} samples each, this run's from {}; {} so that their product stays {}, or "
            "say --allow_changes true",
            checkpoint.string(), progress.global_batch_size, length.global_batch_size,
            plan.deterministic ? "choose micro_batches and per_device_train_batch_size"
                               : "choose ranks, per_device_train_batch_size and gradient_accumulation_steps",
            progress.global_batch_size);
    }
    if (plan.deterministic) require_same_bits(checkpoint, progress, length);
}

}  // namespace

std::int64_t check_resumable(const fs::path& checkpoint, const dist::TrainHeader& header, const Config& config,
                             const optim::Plan& plan, const RunLength& length) {
    if (!config.allow_changes) require_unchanged(checkpoint, header, config, plan, length);
    if (header.step > length.total_steps) {
        user_error(
            "{}: is of update {}, and this run makes only {}; raise max_steps or num_train_epochs, or name an earlier "
            "checkpoint",
            checkpoint.string(), header.step, length.total_steps);
    }
    return header.step;
}

}  // namespace strata::app
