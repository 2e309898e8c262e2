#include "dist/io_proof.h"

#include <mntent.h>
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/error.h"
#include "dist/agreement.h"
#include "dist/state.h"
#include "dist/state_file.h"

namespace strata::dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* file_name = "io-proof.h5.tmp";
constexpr std::int64_t elements_per_rank = 40'009;

struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
};

/// The groups of the file: slices of all ranks, of every second one, and of the last alone.
constexpr const char* group_names[] = {"all", "every second", "last"};

/// What `rank` of `size` has of a group. Slices begin between the multiples of pages, blocks and stripes.
Range slice_of(std::size_t group, int rank, int size) {
    const auto up_to = [&](int ranks) -> std::int64_t {
        if (group == 0) return ranks * elements_per_rank;
        if (group == 1) return (ranks + 1) / 2 * (elements_per_rank + 2);
        return ranks == size ? 1021 : 0;
    };
    return {up_to(rank), up_to(rank + 1)};
}

/// A value that no neighbour has; every one of them is a float exactly.
float value_at(std::size_t group, StateKind kind, std::int64_t element) {
    const std::uint64_t place = static_cast<std::uint64_t>(element) * 3 + static_cast<std::uint64_t>(kind);
    return static_cast<float>(((place * 4 + group) * 0x9e3779b97f4a7c15U) >> 40U);
}

std::vector<float> values_of(std::size_t group, StateKind kind, Range range) {
    std::vector<float> values;
    for (std::int64_t at = range.begin; at < range.end; ++at) values.push_back(value_at(group, kind, at));
    return values;
}

struct OwnGroups {
    std::vector<StateGroup> groups;
    std::vector<std::unique_ptr<std::vector<float>>> memory;
};

OwnGroups own_groups(int rank, int size) {
    OwnGroups own;
    for (std::size_t index = 0; index < std::size(group_names); ++index) {
        const Range range = slice_of(index, rank, size);
        StateGroup group;
        group.name = group_names[index];
        group.elements = slice_of(index, size - 1, size).end;
        group.members.push_back({group.name, {group.elements}, 0, group.elements, true});
        group.begin = range.begin;
        group.end = range.end;
        for (const StateKind kind : state_kinds) {
            own.memory.push_back(std::make_unique<std::vector<float>>(values_of(index, kind, range)));
            pointer_of(group, kind) = own.memory.back()->data();
        }
        own.groups.push_back(std::move(group));
    }
    return own;
}

/// Reads what `writer` wrote.
void compare_slices(const fs::path& path, int writer, int size) {
    const StateFile file(path);
    for (std::size_t index = 0; index < std::size(group_names); ++index) {
        const Range range = slice_of(index, writer, size);
        for (const StateKind kind : state_kinds) {
            std::vector<float> found(static_cast<std::size_t>(range.end - range.begin));
            file.read(index, kind, {{range.begin, range.end, found.data()}});
            if (found != values_of(index, kind, range))
                system_error("{}: rank {} wrote other values", path.string(), writer);
        }
    }
}

void remove_proof(MpiCommunicator& communicator, const fs::path& path) {
    std::error_code ignored;
    if (communicator.rank() == 0) fs::remove(path, ignored);
}

void write_and_compare(MpiCommunicator& communicator, const fs::path& path) {
    OwnGroups own = own_groups(communicator.rank(), communicator.size());
    write_state_file(communicator, path, TrainHeader{}, own.groups);
    // Half the job away is another host, where there are several.
    const int size = communicator.size();
    const int writer = (communicator.rank() + std::max(1, size / 2)) % size;
    collectively(communicator, "reading back through MPI-IO", [&] { compare_slices(path, writer, size); });
}

bool is_below(const fs::path& path, const fs::path& folder) {
    return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

}  // namespace

std::string mpi_io_module() {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    const std::string library = std::string(text).substr(0, std::string(text).find_first_of(",\n"));
    if (!library.starts_with("Open MPI")) return "the MPI-IO of " + library;
    const char* chosen = std::getenv("OMPI_MCA_io");
    const std::string choice = chosen == nullptr ? "" : chosen;
    if (choice == "^ompio" || choice.starts_with("romio")) return "ROMIO of " + library;
    if (choice.empty() || choice == "ompio") return "OMPIO of " + library;
    return fmt::format("the module that OMPI_MCA_io={} gives of {}", choice, library);
}

std::string file_system_of(const fs::path& path) {
    std::error_code ignored;
    const fs::path place = fs::weakly_canonical(path, ignored);
    const std::unique_ptr<FILE, int (*)(FILE*)> mounts(::setmntent("/proc/self/mounts", "r"), ::endmntent);
    if (!mounts) return "an unknown file system";
    std::string type = "an unknown file system";
    std::string at = "/";
    mntent entry{};
    std::vector<char> text(4096);
    while (::getmntent_r(mounts.get(), &entry, text.data(), static_cast<int>(text.size())) != nullptr) {
        // Of mounts over one another the last is the one that is seen.
        if (is_below(place, entry.mnt_dir) && std::string(entry.mnt_dir).size() >= at.size()) {
            type = entry.mnt_type;
            at = entry.mnt_dir;
        }
    }
    return type + " at " + at;
}

void prove_parallel_io(MpiCommunicator& communicator, const fs::path& directory) {
    const fs::path path = directory / file_name;
    try {
        write_and_compare(communicator, path);
    } catch (const AgreedUserError&) {
        remove_proof(communicator, path);
        throw;
    } catch (const AgreedSystemError& error) {
        remove_proof(communicator, path);
        throw AgreedSystemError(
            fmt::format("{}: a small file that all ranks wrote through MPI-IO did not come back as it was written, and "
                        "no checkpoint would: {}. At fault is {} or the file system, {}. With Open MPI choose ROMIO "
                        "(OMPI_MCA_io=^ompio, which is set unless you set another), or name an output_dir on another "
                        "file system that all ranks share",
                        directory.string(), error.what(), mpi_io_module(), file_system_of(directory)));
    }
    remove_proof(communicator, path);
}

}  // namespace strata::dist
