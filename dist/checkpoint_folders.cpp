// Finding, checking and removing checkpoint folders.
#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "dist/agreement.h"
#include "dist/checkpoint.h"
#include "dist/checksums.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "checkpoint-";

/// The step of "checkpoint-12"; empty for any other name, "checkpoint-012" and "checkpoint-12.tmp" among them.
std::optional<std::int64_t> step_of(const std::string& name) {
    std::int64_t step = 0;
    const char* const end = name.data() + name.size();
    if (!name.starts_with(prefix)) return std::nullopt;
    const auto [next, error] = std::from_chars(name.data() + prefix.size(), end, step);
    if (error != std::errc() || next != end || step < 0) return std::nullopt;
    if (name != fmt::format("{}{}", prefix, step)) return std::nullopt;
    return step;
}

std::optional<fs::path> without_suffix(const fs::path& path, std::string_view suffix) {
    const std::string name = path.filename().string();
    if (!name.ends_with(suffix)) return std::nullopt;
    const std::string stem = name.substr(0, name.size() - suffix.size());
    if (!step_of(stem)) return std::nullopt;
    return path.parent_path() / stem;
}

std::vector<fs::path> folders_in(const fs::path& directory) {
    std::vector<fs::path> folders;
    std::error_code error;
    for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (at->is_directory(ignored)) folders.push_back(at->path());
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        system_error("{}: the folder cannot be listed: {}", directory.string(), error.message());
    }
    return folders;
}

/// Removes a folder so that a crash half-way leaves nothing that looks like a checkpoint.
void remove_checkpoint(const fs::path& folder) {
    const fs::path unfinished = folder.string() + ".tmp";
    std::error_code error;
    fs::remove_all(unfinished, error);
    fs::rename(folder, unfinished, error);
    if (!error) fs::remove_all(unfinished, error);
    if (error) system_error("{}: the folder cannot be removed: {}", folder.string(), error.message());
}

bool same_folder(const fs::path& a, const fs::path& b) {
    std::error_code error;
    return fs::equivalent(a, b, error) && !error;
}

std::string first_problems(const fs::path& folder, const std::vector<std::string>& problems) {
    std::string text = fmt::format("{} is not whole and is passed over: {}", folder.string(), problems.front());
    if (problems.size() > 1) text += fmt::format(" (and {} more)", problems.size() - 1);
    return text;
}

std::vector<std::string> verify_state_data(const fs::path& state, int part, int parts) {
    try {
        return StateFile(state).verify(part, parts);
    } catch (const std::runtime_error& error) {
        return {error.what()};
    }
}

/// All ranks' problems with one folder, in rank order, the same on every rank.
std::vector<std::string> verify_together(MpiCommunicator& communicator, const fs::path& folder) {
    std::string own;
    for (const std::string& problem : verify_checkpoint(folder, communicator.rank(), communicator.size())) {
        own += problem + '\n';
    }
    std::vector<std::string> problems;
    for (const std::string& text : communicator.all_gather_bytes(own)) {
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t end = text.find('\n', at);
            problems.push_back(text.substr(at, end - at));
            at = end + 1;
        }
    }
    return problems;
}

}  // namespace

std::vector<CheckpointEntry> list_checkpoints(const fs::path& output_dir) {
    std::vector<CheckpointEntry> entries;
    for (const fs::path& folder : folders_in(output_dir)) {
        if (const auto step = step_of(folder.filename().string())) entries.push_back({*step, folder});
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    return entries;
}

std::vector<fs::path> checkpoints_at(const fs::path& path) {
    std::error_code error;
    if (!fs::is_directory(path, error)) user_error("{}: there is no such folder", path.string());
    const fs::path folder = path.has_filename() ? path : path.parent_path();  // "run/" as "run"
    if (without_suffix(folder, ".tmp")) {
        user_error("{}: was never finished, so it is no checkpoint; a run that goes on removes it", path.string());
    }
    if (fs::exists(folder / checksums_name, error) || fs::exists(folder / state_name, error)) return {folder};
    std::vector<fs::path> folders;
    for (const CheckpointEntry& entry : list_checkpoints(folder)) folders.push_back(entry.path);
    if (folders.empty()) {
        user_error("{}: is neither a checkpoint of strata ({} and {} are missing) nor a run directory with checkpoints",
                   path.string(), state_name, checksums_name);
    }
    return folders;
}

void remove_unfinished_checkpoints(const fs::path& output_dir) {
    for (const fs::path& folder : folders_in(output_dir)) {
        std::error_code error;
        if (const auto original = without_suffix(folder, ".replaced")) {
            // A job died between the two renames of a replacement.
            if (!fs::exists(*original, error))
                fs::rename(folder, *original, error);
            else
                fs::remove_all(folder, error);
        } else if (without_suffix(folder, ".tmp")) {
            fs::remove_all(folder, error);
        }
        if (error) system_error("{}: an unfinished checkpoint cannot be removed: {}", folder.string(), error.message());
    }
}

std::vector<std::string> verify_checkpoint(const fs::path& folder, int part, int parts) {
    std::vector<std::string> problems;
    try {
        // The structure of state.h5 is checked by every share, so that HDF5 never reads one that is known to be
        // damaged.
        problems = part == 0 ? verify_files(folder) : verify_state_structure(folder);
    } catch (const std::exception& error) {
        return {error.what()};
    }
    const std::string state = (folder / state_name).string();
    const bool readable = std::none_of(problems.begin(), problems.end(), [&](const std::string& problem) {
        return problem.starts_with(state) || problem.starts_with((folder / checksums_name).string());
    });
    if (readable) {
        const std::vector<std::string> found = verify_state_data(state, part, parts);
        problems.insert(problems.end(), found.begin(), found.end());
    }
    // Each rank sees trouble with the structure; one report of it is enough.
    if (part != 0 && !readable) problems.clear();
    return problems;
}

std::optional<fs::path> newest_valid_checkpoint(const fs::path& output_dir,
                                                const std::function<void(const std::string&)>& warn) {
    std::vector<CheckpointEntry> entries = list_checkpoints(output_dir);
    for (; !entries.empty(); entries.pop_back()) {
        const std::vector<std::string> problems = verify_checkpoint(entries.back().path);
        if (problems.empty()) return entries.back().path;
        if (warn) warn(first_problems(entries.back().path, problems));
    }
    return std::nullopt;
}

std::optional<fs::path> newest_valid_checkpoint(MpiCommunicator& communicator, const fs::path& output_dir,
                                                const std::function<void(const std::string&)>& warn) {
    // Rank 0's list counts: another host may see a folder a little later.
    std::string listed;
    collectively(communicator, "listing the checkpoints", [&] {
        if (communicator.rank() != 0) return;
        for (const CheckpointEntry& entry : list_checkpoints(output_dir)) listed += std::to_string(entry.step) + '\n';
    });
    std::string steps = communicator.all_gather_bytes(listed).front();
    while (!steps.empty()) {
        steps.pop_back();
        const std::size_t line = steps.rfind('\n') + 1;  // npos + 1 is 0
        const fs::path folder = output_dir / (std::string(prefix) + steps.substr(line));
        steps.resize(line);
        const std::vector<std::string> problems = verify_together(communicator, folder);
        if (problems.empty()) return folder;
        if (warn && communicator.rank() == 0) warn(first_problems(folder, problems));
    }
    return std::nullopt;
}

std::vector<fs::path> rotate_checkpoints(const fs::path& output_dir, std::int64_t limit,
                                         std::span<const fs::path> protected_folders) {
    std::vector<fs::path> removed;
    if (limit <= 0) return removed;
    const std::vector<CheckpointEntry> entries = list_checkpoints(output_dir);
    auto left = static_cast<std::int64_t>(entries.size());
    for (const CheckpointEntry& entry : entries) {
        if (left <= limit || entry.step == entries.back().step) break;
        const bool keep = std::any_of(protected_folders.begin(), protected_folders.end(),
                                      [&](const fs::path& folder) { return same_folder(folder, entry.path); });
        if (keep) continue;
        remove_checkpoint(entry.path);
        removed.push_back(entry.path);
        --left;
    }
    return removed;
}

StateFile open_checkpoint_state(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) user_error("{}: there is no such checkpoint folder", folder.string());
    if (!fs::exists(folder / state_name, error)) {
        user_error("{}: is not a checkpoint of strata: it has no {}", folder.string(), state_name);
    }
    const std::vector<std::string> problems = verify_state_structure(folder);
    if (!problems.empty()) throw SystemError(problems.front());
    return StateFile(folder / state_name);
}

}  // namespace strata::dist
