// The life of a checkpoint folder: written beside its name, read back, synced, renamed; whole or invisible.
//
//   output_dir/checkpoint-N.tmp/   being written, or left behind by a job that died: nothing ever reads it
//   output_dir/checkpoint-N/       whole: config.json model.safetensors … trainer_state.json state.h5 checksums.json
//
// checksums.json holds the size and XXH3-64 of every other file, so that one flipped bit anywhere is found and named.
// Of state.h5 it holds where each dataset lies and the hash of all bytes outside the large ones, whose own hashes are
// in the file's /checksums table; so no rank ever hashes the whole state, and damaged structure is found before HDF5
// reads it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dist/mpi_communicator.h"
#include "dist/state.h"
#include "dist/state_file.h"

namespace strata::dist {

struct CheckpointContent {
    TrainHeader header;  // header.step names the folder
    std::vector<StateGroup> groups;
    /// Runs on rank 0 and writes the model folder's files (config.json, model.safetensors, vocabulary) into the path,
    /// where the finished state.h5 lies already: the weights can be taken from there.
    std::function<void(const std::filesystem::path&)> write_files;
    std::uint64_t file_bytes = 0;  // about how many bytes write_files will write, for the check of free space
    std::string trainer_state;     // JSON text of trainer_state.json
};

struct CheckpointOptions {
    StateWriteOptions state;
    /// Asks the disk for room before anything is written.
    bool check_space = true;
};

/// Writes output_dir/checkpoint-<step> and returns its path. Collective; a background writer brings a communicator of
/// its own (background_task.h). A folder of the same step is replaced. On any rank's failure all ranks throw the same
/// error, the unfinished folder is removed, and older checkpoints are untouched.
std::filesystem::path write_checkpoint(MpiCommunicator& communicator, const std::filesystem::path& output_dir,
                                       const CheckpointContent& content, const CheckpointOptions& options = {});

struct CheckpointEntry {
    std::int64_t step = 0;
    std::filesystem::path path;
};

/// The whole checkpoints of a run directory, by step. Unfinished ones are not seen. Empty if there is no directory.
std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& output_dir);

/// The checkpoints that `path` means: itself, if it is one, damaged or not; of a run directory all, by step. UserError
/// for anything else, an unfinished checkpoint among it.
std::vector<std::filesystem::path> checkpoints_at(const std::filesystem::path& path);

/// Removes what jobs that died left behind (checkpoint-*.tmp). Rank 0 only, before writing.
void remove_unfinished_checkpoints(const std::filesystem::path& output_dir);

/// Everything wrong with a checkpoint folder, each message naming file and, where there is one, dataset; empty if it is
/// whole. With `parts` > 1 only share `part` of the work, the shares together being all of it; share 0 has the files.
std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder, int part = 0, int parts = 1);

/// The newest checkpoint that verifies, `warn` being told of each newer one that does not and why.
std::optional<std::filesystem::path> newest_valid_checkpoint(const std::filesystem::path& output_dir,
                                                             const std::function<void(const std::string&)>& warn);
/// The same with the work shared by all ranks; every rank gets the same answer, rank 0 warns.
std::optional<std::filesystem::path> newest_valid_checkpoint(MpiCommunicator& communicator,
                                                             const std::filesystem::path& output_dir,
                                                             const std::function<void(const std::string&)>& warn);

/// Removes the oldest checkpoints, by step, until `limit` are left (0 or less: no limit). The newest and the protected
/// are never removed, so more may be left. Returns what was removed. Rank 0 only.
std::vector<std::filesystem::path> rotate_checkpoints(const std::filesystem::path& output_dir, std::int64_t limit,
                                                      std::span<const std::filesystem::path> protected_folders = {});

/// Opens a folder's state.h5 after checking its structure against checksums.json. UserError if the folder is no
/// checkpoint.
StateFile open_checkpoint_state(const std::filesystem::path& folder);

/// A checkpoint in words: step, epoch, world size, groups, parameters, files, configuration, provenance.
std::string inspect_checkpoint(const std::filesystem::path& folder);

}  // namespace strata::dist
