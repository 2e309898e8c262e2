#include "dist/checkpoint.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "dist/checksums.h"
#include "optim/text_table.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;

void require_space(const fs::path& folder, std::uint64_t needed) {
    const std::uint64_t available = free_bytes(folder);
    if (available >= needed) return;
    user_error(
        "{}: a checkpoint needs {} and the disk has {} free ({} and {} bytes): make room, keep fewer checkpoints "
        "(--save_total_limit), or save elsewhere (--output_dir)",
        folder.string(), optim::byte_text(static_cast<std::int64_t>(needed)),
        optim::byte_text(static_cast<std::int64_t>(available)), needed, available);
}

void make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (!error) return;
    errno = error.value();
    throw_errno(fmt::format("{}: the folder cannot be made", path.string()));
}

void prepare(const fs::path& output_dir, const fs::path& unfinished, std::optional<std::uint64_t> needed) {
    make_folder(output_dir);
    remove_unfinished_checkpoints(output_dir);
    if (needed) require_space(output_dir, *needed);
    make_folder(unfinished);
}

void read_back(const fs::path& state, int rank, int size) {
    const std::vector<std::string> problems = StateFile(state).verify(rank, size);
    if (!problems.empty()) {
        system_error(
            "{} (read back right after writing). The disk or the MPI-IO module is at fault; with Open MPI, check that "
            "OMPI_MCA_io=^ompio is set",
            problems.front());
    }
}

void sync_folder(const fs::path& folder) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) sync_path(entry.path());
    sync_path(folder);
}

/// Makes the finished folder visible under its name. A folder that has the name already is swapped out in one step
/// where the file system can, so that at no moment there is neither.
void commit(const fs::path& unfinished, const fs::path& final_path) {
    const long swapped =
        ::syscall(SYS_renameat2, AT_FDCWD, unfinished.c_str(), AT_FDCWD, final_path.c_str(), 2U /* RENAME_EXCHANGE */);
    std::error_code error;
    if (swapped != 0 && fs::exists(final_path, error)) {
        // The name it then has for a moment is the one that remove_unfinished_checkpoints() puts back.
        const fs::path replaced = final_path.string() + ".replaced";
        if (::rename(final_path.c_str(), replaced.c_str()) != 0)
            throw_errno(final_path.string() + ": cannot be replaced");
        if (::rename(unfinished.c_str(), final_path.c_str()) != 0)
            throw_errno(unfinished.string() + ": cannot be renamed");
        fs::remove_all(replaced, error);
    } else if (swapped != 0) {
        if (::rename(unfinished.c_str(), final_path.c_str()) != 0)
            throw_errno(unfinished.string() + ": cannot be renamed");
    }
    sync_path(final_path.parent_path());
    fs::remove_all(unfinished, error);  // after a swap, the old content
}

void write_unfinished(MpiCommunicator& communicator, const fs::path& folder, const CheckpointContent& content,
                      const StateWriteOptions& options) {
    const bool first = communicator.rank() == 0;
    const fs::path state = folder / state_name;
    write_state_file(communicator, state, content.header, content.groups, options);
    collectively(communicator, "reading back the checkpoint",
                 [&] { read_back(state, communicator.rank(), communicator.size()); });
    collectively(communicator, "writing the model folder", [&] {
        if (first && content.write_files) content.write_files(folder);
    });
    collectively(communicator, "syncing the checkpoint", [&] {
        if (first) {
            write_file_atomically(folder / "trainer_state.json", content.trainer_state);
            write_file_atomically(folder / checksums_name, make_checksums(folder));
            sync_folder(folder);
        } else {
            // Ranks on other hosts may hold the file's pages in their own cache.
            sync_path(state);
        }
    });
}

}  // namespace

fs::path write_checkpoint(MpiCommunicator& communicator, const fs::path& output_dir, const CheckpointContent& content,
                          const CheckpointOptions& options) {
    const bool first = communicator.rank() == 0;
    const fs::path final_path = output_dir / fmt::format("checkpoint-{}", content.header.step);
    const fs::path unfinished = final_path.string() + ".tmp";
    const std::uint64_t needed = state_file_bytes(communicator, content.header, content.groups) + content.file_bytes +
                                 content.trainer_state.size();
    try {
        collectively(communicator, "preparing the checkpoint folder", [&] {
            if (first) prepare(output_dir, unfinished, options.check_space ? std::optional(needed) : std::nullopt);
        });
        write_unfinished(communicator, unfinished, content, options.state);
        collectively(communicator, "finishing the checkpoint", [&] {
            if (first) commit(unfinished, final_path);
        });
    } catch (...) {
        // Every rank is here with the same error, so nobody writes into the folder any more.
        std::error_code ignored;
        if (first) fs::remove_all(unfinished, ignored);
        throw;
    }
    return final_path;
}

}  // namespace strata::dist
