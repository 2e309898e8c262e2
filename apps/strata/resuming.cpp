#include "apps/strata/resuming.h"

#include <cstdio>
#include <map>
#include <sstream>

#include "apps/strata/options.h"
#include "apps/strata/train_progress.h"
#include "core/error.h"
#include "dist/agreement.h"
#include "dist/checkpoint.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

/// Keys whose change does not change what is learned: where, how often and how loudly.
bool is_free_to_change(const std::string& key) {
    for (const char* free :
         {"output_dir", "overwrite_output_dir", "resume_from_checkpoint", "allow_changes", "logging_steps",
          "eval_strategy", "eval_steps", "save_strategy", "save_steps", "save_total_limit", "progress",
          "validation_file", "test_file", "per_device_eval_batch_size", "max_eval_samples", "zero_stage",
          "per_device_train_batch_size", "gradient_accumulation_steps", "model_name_or_path"}) {
        if (key == free) return true;
    }
    return false;
}

std::map<std::string, std::string> entries(const std::string& toml_text) {
    std::map<std::string, std::string> found;
    std::istringstream lines(toml_text);
    for (std::string line; std::getline(lines, line);) {
        const auto equals = line.find(" = ");
        if (equals != std::string::npos) found[line.substr(0, equals)] = line.substr(equals + 3);
    }
    return found;
}

std::string difference(const std::string& saved_text, const std::string& own_text) {
    auto saved = entries(saved_text);
    const auto own = entries(own_text);
    std::string text;
    for (const auto& [key, value] : own) {
        if (!is_free_to_change(key) && saved[key] != value) {
            text += fmt::format("\n  {}: {} in the checkpoint, {} now", key, saved[key].empty() ? "unset" : saved[key],
                                value);
        }
        saved.erase(key);
    }
    for (const auto& [key, value] : saved) {
        if (!is_free_to_change(key) && !value.empty())
            text += fmt::format("\n  {}: {} in the checkpoint, unset now", key, value);
    }
    return text;
}

}  // namespace

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
    const std::string changes = difference(header.effective_config, to_toml(config, command_train, true));
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
