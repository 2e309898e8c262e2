// A run that goes on until something happens to it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dist/checkpoint.h"
#include "tests/distributed/job.h"

namespace strata::testing_support {

/// Saves every ten updates, keeps three checkpoints, and takes a rank that is silent for 2 s for lost.
inline std::vector<std::string> long_run(int ranks, const std::filesystem::path& output_dir) {
    return with(parity_run(ranks, output_dir),
                {"--max_steps", "100000", "--save_steps", "10", "--save_total_limit", "3", "--heartbeat_timeout", "2",
                 "--lr_scheduler_type", "constant_with_warmup", "--hidden_dropout_prob", "0.1", "--shuffle", "true"});
}

inline std::int64_t newest_update(const std::filesystem::path& output_dir) {
    if (!std::filesystem::exists(output_dir / "metrics.jsonl")) return 0;
    const auto lines = read_lines(output_dir / "metrics.jsonl");
    return lines.empty() ? 0 : lines.back()["step"].get<std::int64_t>();
}

inline std::int64_t newest_checkpoint(const std::filesystem::path& output_dir) {
    const auto saved = dist::list_checkpoints(output_dir);
    return saved.empty() ? 0 : saved.back().step;
}

/// Waits until the run has saved update `step`, or ends, or a minute is over.
inline bool reaches(BackgroundJob& job, const std::filesystem::path& output_dir, std::int64_t step) {
    for (int tries = 0; tries < 1200 && job.wait(0.05) < 0; ++tries) {
        if (newest_checkpoint(output_dir) >= step) return true;
    }
    return false;
}

/// The flags of a run that goes on from the newest checkpoint for three more updates.
inline std::vector<std::string> goes_on(const std::vector<std::string>& flags,
                                        const std::filesystem::path& output_dir) {
    return with(flags, {"--resume_from_checkpoint", "auto", "--allow_changes", "true", "--max_steps",
                        std::to_string(newest_checkpoint(output_dir) + 3)});
}

}  // namespace strata::testing_support
