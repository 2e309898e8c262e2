// Writing state.h5: rank 0 lays it out, all ranks fill it.
//
// They fill it through MPI-IO at the places that HDF5 has given the datasets, and not through HDF5: opened by all
// ranks, it writes blocks of its own again when it closes the file, and where that fails on one rank (a quota is used
// up), the others wait for ever. The transfers are independent ones, since a slice is one piece of the file and
// collective buffering has nothing to merge. Opening and closing are the only collective steps.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "dist/agreement.h"
#include "dist/mpi_operation.h"
#include "dist/shared_file.h"
#include "dist/state_file.h"
#include "dist/state_format.h"

namespace strata::dist {
namespace {

// The file's bytes are the memory's.
static_assert(std::endian::native == std::endian::little);

// Large datasets start on multiples of 1 MiB, where striped file systems do not make neighbours share a stripe. Small
// ones do not: a run with a group for each bias would mostly write gaps.
constexpr std::uint64_t dataset_alignment = std::uint64_t{1} << 20;
constexpr std::uint64_t aligned_from = std::uint64_t{16} << 20;

/// What one rank tells the others about one group.
struct SliceRecord {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::uint64_t present = 0;  // bit k: has StateKind k
};

/// What all ranks then know about one group.
struct GroupSlices {
    std::vector<SliceRecord> ranks;
    std::array<bool, 3> present{};
};

template <typename Record>
std::string bytes_of_records(const std::vector<Record>& records) {
    return {reinterpret_cast<const char*>(records.data()), records.size() * sizeof(Record)};
}

template <typename Record>
std::vector<Record> records_of_bytes(const std::string& bytes) {
    std::vector<Record> records(bytes.size() / sizeof(Record));
    std::memcpy(records.data(), bytes.data(), records.size() * sizeof(Record));
    return records;
}

std::uint64_t kind_bit(StateKind kind) {
    return std::uint64_t{1} << static_cast<unsigned>(kind);
}

void check_group(const StateGroup& group) {
    std::int64_t offset = 0;
    for (const StateSegment& member : group.members) {
        STRATA_CHECK(member.offset == offset, "group {}: {} is not where its neighbour ends", group.name, member.name);
        offset += member.elements;
    }
    STRATA_CHECK(offset == group.elements, "group {}: {} elements, its members have {}", group.name, group.elements,
                 offset);
    STRATA_CHECK(0 <= group.begin && group.begin <= group.end && group.end <= group.elements,
                 "group {}: slice [{}, {})", group.name, group.begin, group.end);
}

/// Slices of one group must tile it, and either all or none of their owners hold each set.
GroupSlices combine(const StateGroup& group, std::vector<SliceRecord> ranks) {
    GroupSlices slices;
    std::vector<SliceRecord> filled;
    for (const SliceRecord& slice : ranks) {
        if (slice.begin < slice.end) filled.push_back(slice);
    }
    std::sort(filled.begin(), filled.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    std::int64_t covered = 0;
    for (const SliceRecord& slice : filled) {
        STRATA_CHECK(slice.begin == covered, "group {}: the ranks' slices do not meet at element {}", group.name,
                     covered);
        STRATA_CHECK(slice.present == filled.front().present, "group {}: ranks hold different state", group.name);
        covered = slice.end;
    }
    STRATA_CHECK(covered == group.elements, "group {}: the ranks' slices end at {} of {}", group.name, covered,
                 group.elements);
    for (const StateKind kind : state_kinds) {
        slices.present[static_cast<std::size_t>(kind)] =
            !filled.empty() && (filled.front().present & kind_bit(kind)) != 0;
    }
    slices.ranks = std::move(ranks);
    return slices;
}

std::vector<GroupSlices> gather_slices(MpiCommunicator& communicator, std::span<const StateGroup> groups) {
    std::vector<SliceRecord> own;
    for (const StateGroup& group : groups) {
        SliceRecord record{group.begin, group.end, 0};
        for (const StateKind kind : state_kinds) {
            if (pointer_of(group, kind) != nullptr) record.present |= kind_bit(kind);
        }
        own.push_back(record);
    }
    const std::vector<std::string> all = communicator.all_gather_bytes(bytes_of_records(own));
    return collectively(communicator, "laying out the checkpoint", [&] {
        std::vector<std::vector<SliceRecord>> by_rank;
        for (const std::string& bytes : all) by_rank.push_back(records_of_bytes<SliceRecord>(bytes));
        std::vector<GroupSlices> slices;
        for (std::size_t i = 0; i < groups.size(); ++i) {
            check_group(groups[i]);
            std::vector<SliceRecord> of_group;
            for (const auto& records : by_rank) {
                STRATA_CHECK(records.size() == groups.size(), "ranks have {} and {} groups", groups.size(),
                             records.size());
                of_group.push_back(records[i]);
            }
            slices.push_back(combine(groups[i], std::move(of_group)));
        }
        return slices;
    });
}

std::size_t dataset_index(std::size_t group, StateKind kind) {
    return group * state_kinds.size() + static_cast<std::size_t>(kind);
}

/// Of each dataset by its index: the byte at which it begins. 0 where there is none.
using DatasetOffsets = std::vector<std::uint64_t>;

/// A checksum row as it travels: the dataset as its index.
struct RowRecord {
    std::uint64_t dataset = 0;
    std::int64_t offset = 0;
    std::int64_t length = 0;
    std::uint64_t hash = 0;
};

/// Hashes the own slices, in blocks that end on multiples of the block size whoever owns them.
std::vector<RowRecord> hash_own_slices(std::span<const StateGroup> groups) {
    std::vector<RowRecord> rows;
    for (std::size_t i = 0; i < groups.size(); ++i) {
        const StateGroup& group = groups[i];
        for (const StateKind kind : state_kinds) {
            const float* data = pointer_of(group, kind);
            if (data == nullptr) continue;
            for (std::int64_t at = group.begin; at < group.end;) {
                const std::int64_t next =
                    std::min(group.end, (at / checksum_block_elements + 1) * checksum_block_elements);
                rows.push_back(
                    {dataset_index(i, kind), at, next - at, hash_elements(data + (at - group.begin), next - at)});
                at = next;
            }
        }
    }
    return rows;
}

void write_header(hid_t file, const TrainHeader& header) {
    using hdf5::write_attribute;
    write_attribute(file, "format", std::string(state_format));
    write_attribute(file, "version", state_version);
    write_attribute(file, "step", header.step);
    write_attribute(file, "epoch", header.epoch);
    write_attribute(file, "world_size", std::int64_t{header.world_size});
    write_attribute(file, "stage", header.stage);
    write_attribute(file, "plan_hash", header.plan_hash);
    write_attribute(file, "update_hash", header.update_hash);
    write_attribute(file, "effective_config", header.effective_config);
    write_attribute(file, "provenance", header.provenance);
    write_attribute(file, "model_fingerprint", header.model_fingerprint);
    hdf5::write_text(file, "train", header.train);
}

void write_members(hid_t parent, const StateGroup& group) {
    std::vector<hdf5::Column> columns{{"name", true, {}, {}},
                                      {"offset", false, {}, {}},
                                      {"elements", false, {}, {}},
                                      {"shape", true, {}, {}},
                                      {"decays", false, {}, {}}};
    for (const StateSegment& member : group.members) {
        columns[0].texts.push_back(member.name);
        columns[1].numbers.push_back(static_cast<std::uint64_t>(member.offset));
        columns[2].numbers.push_back(static_cast<std::uint64_t>(member.elements));
        columns[3].texts.push_back(shape_text(member.shape));
        columns[4].numbers.push_back(member.decays ? 1 : 0);
    }
    hdf5::write_table(parent, "members", columns);
}

void lay_out_group(hid_t groups, std::size_t index, const StateGroup& group, const GroupSlices& slices,
                   DatasetOffsets& offsets) {
    using hdf5::write_attribute;
    const hdf5::PropertyList timeless = hdf5::timeless(H5P_GROUP_CREATE);
    const hdf5::Group link(H5Gcreate2(groups, group_link(group.name).c_str(), H5P_DEFAULT, timeless.get(), H5P_DEFAULT),
                           group.name);
    write_attribute(link.get(), "name", group.name);
    write_attribute(link.get(), "index", static_cast<std::int64_t>(index));
    write_attribute(link.get(), "elements", group.elements);
    write_attribute(link.get(), "step", group.step);
    write_attribute(link.get(), "frozen", std::int64_t{group.frozen});
    write_attribute(link.get(), "multiplier", group.multiplier);
    write_attribute(link.get(), "learning_rate", group.learning_rate);
    write_attribute(link.get(), "weight_decay", group.weight_decay);
    write_attribute(link.get(), "beta1", group.beta1);
    write_attribute(link.get(), "beta2", group.beta2);
    write_attribute(link.get(), "epsilon", group.epsilon);
    write_members(link.get(), group);
    for (const StateKind kind : state_kinds) {
        if (!slices.present[static_cast<std::size_t>(kind)]) continue;
        const hsize_t extent = static_cast<hsize_t>(group.elements);
        const hdf5::Space space(H5Screate_simple(1, &extent, nullptr), group.name);
        const hdf5::PropertyList properties = hdf5::contiguous_dataset();
        const hdf5::Dataset dataset(H5Dcreate2(link.get(), std::string(name_of(kind)).c_str(), H5T_IEEE_F32LE,
                                               space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
                                    dataset_path(group.name, kind));
        const haddr_t offset = H5Dget_offset(dataset.get());
        STRATA_CHECK(offset != HADDR_UNDEF || group.elements == 0, "{} lies nowhere", dataset_path(group.name, kind));
        offsets[dataset_index(index, kind)] = offset;
    }
}

void write_checksums(hid_t file, std::span<const StateGroup> groups, const std::vector<RowRecord>& rows) {
    std::vector<hdf5::Column> columns{
        {"dataset", true, {}, {}}, {"offset", false, {}, {}}, {"length", false, {}, {}}, {"hash", false, {}, {}}};
    for (const RowRecord& row : rows) {
        const StateGroup& group = groups[row.dataset / state_kinds.size()];
        columns[0].texts.push_back(dataset_path(group.name, state_kinds[row.dataset % state_kinds.size()]));
        columns[1].numbers.push_back(static_cast<std::uint64_t>(row.offset));
        columns[2].numbers.push_back(static_cast<std::uint64_t>(row.length));
        columns[3].numbers.push_back(row.hash);
    }
    hdf5::write_table(file, "checksums", columns);
}

/// Claims the blocks of the whole file, so that a full disk is known before all ranks write.
/// A file system that cannot is left to tell of it later.
void reserve_space(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) throw_errno(fmt::format("{}: cannot be written", path.string()));
    const off_t bytes = ::lseek(file, 0, SEEK_END);
    const int failure = bytes > 0 && ::fallocate(file, 0, 0, bytes) != 0 ? errno : 0;
    ::close(file);
    if (failure == ENOSPC || failure == EDQUOT || failure == EFBIG) {
        errno = failure;
        throw_errno(fmt::format("{}: {} bytes cannot be reserved", path.string(), bytes));
    }
}

/// Throws what was said of a failed write. A full disk is the user's to mend; where nothing is said of it, the disk
/// itself is asked.
[[noreturn]] void throw_write_error(const std::string& message, const std::filesystem::path& path, bool full,
                                    std::uint64_t wanted) {
    const std::uint64_t available = free_bytes(path.parent_path());
    if (!full && available >= wanted) system_error("{}", message);
    user_error("{} (the disk is full: {} bytes free; make room there, or save elsewhere)", message, available);
}

DatasetOffsets lay_out_file(const std::filesystem::path& path, const TrainHeader& header,
                            std::span<const StateGroup> groups, const std::vector<GroupSlices>& slices,
                            const std::vector<RowRecord>& rows, bool reserve) {
    DatasetOffsets offsets(groups.size() * state_kinds.size());
    const std::string action = fmt::format("{}: cannot be written", path.string());
    const hdf5::PropertyList access = hdf5::file_access();
    hdf5::check(H5Pset_alignment(access.get(), aligned_from, dataset_alignment), action);
    try {
        const hdf5::PropertyList timeless_root = hdf5::timeless(H5P_FILE_CREATE);
        hdf5::File file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, timeless_root.get(), access.get()), "making the file");
        write_header(file.get(), header);
        const hdf5::PropertyList timeless_group = hdf5::timeless(H5P_GROUP_CREATE);
        hdf5::Group all(H5Gcreate2(file.get(), "groups", H5P_DEFAULT, timeless_group.get(), H5P_DEFAULT), action);
        for (std::size_t i = 0; i < groups.size(); ++i) lay_out_group(all.get(), i, groups[i], slices[i], offsets);
        write_checksums(file.get(), groups, rows);
        all.close(action);
        file.close(action);
    } catch (const SystemError& error) {
        const std::string message = fmt::format("{}: {}", action, error.what());
        throw_write_error(message, path, message.find(std::strerror(ENOSPC)) != std::string::npos, 0);
    }
    if (reserve) reserve_space(path);
    return offsets;
}

/// Writes this rank's slice of one dataset, which begins at byte `offset`.
void write_slice(SharedFile& file, const std::filesystem::path& path, const StateGroup& group, StateKind kind,
                 std::uint64_t offset, std::int64_t step) {
    const std::span own(pointer_of(group, kind), static_cast<std::size_t>(group.end - group.begin));
    for (std::int64_t begin = group.begin; begin < group.end; begin += step) {
        const auto first = static_cast<std::size_t>(begin - group.begin);
        const std::span values = own.subspan(first, std::min(static_cast<std::size_t>(step), own.size() - first));
        const int status = file.write(offset + static_cast<std::uint64_t>(begin) * sizeof(float), values);
        if (status == MPI_SUCCESS) continue;
        throw_write_error(fmt::format("{}: dataset {}: cannot be written: {}", path.string(),
                                      dataset_path(group.name, kind), mpi_error_text(status)),
                          path, is_out_of_room(status), values.size_bytes());
    }
}

void write_own_slices(SharedFile& file, const std::filesystem::path& path, std::span<const StateGroup> groups,
                      const std::vector<GroupSlices>& slices, const DatasetOffsets& offsets, std::int64_t step) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
        if (groups[i].begin == groups[i].end) continue;
        for (const StateKind kind : state_kinds) {
            if (slices[i].present[static_cast<std::size_t>(kind)])
                write_slice(file, path, groups[i], kind, offsets[dataset_index(i, kind)], step);
        }
    }
}

}  // namespace

std::uint64_t state_file_bytes(MpiCommunicator& communicator, const TrainHeader& header,
                               std::span<const StateGroup> groups) {
    const std::vector<GroupSlices> slices = gather_slices(communicator, groups);
    std::uint64_t bytes = 64 * 1024 + header.effective_config.size() + header.provenance.size() + header.train.size();
    for (std::size_t i = 0; i < groups.size(); ++i) {
        std::size_t longest_name = 0;
        for (const StateSegment& member : groups[i].members) longest_name = std::max(longest_name, member.name.size());
        bytes += 4096 + groups[i].members.size() * (longest_name + 64);
        const auto data = static_cast<std::uint64_t>(groups[i].elements) * sizeof(float);
        const std::uint64_t rows = data / (checksum_block_elements * sizeof(float)) + 2 * slices[i].ranks.size();
        for (const bool present : slices[i].present) {
            if (present)
                bytes += data + (data >= aligned_from ? dataset_alignment : 0) + rows * (groups[i].name.size() + 64);
        }
    }
    return bytes;
}

void write_state_file(MpiCommunicator& communicator, const std::filesystem::path& path, const TrainHeader& header,
                      std::span<const StateGroup> groups, const StateWriteOptions& options) {
    hdf5::silence_errors();
    const std::vector<GroupSlices> slices = gather_slices(communicator, groups);
    const std::vector<std::string> hashes = communicator.all_gather_bytes(bytes_of_records(hash_own_slices(groups)));
    const DatasetOffsets own_offsets = collectively(communicator, "laying out the checkpoint", [&] {
        if (communicator.rank() != 0) return DatasetOffsets();
        std::vector<RowRecord> rows;
        for (const std::string& bytes : hashes) {
            const auto of_rank = records_of_bytes<RowRecord>(bytes);
            rows.insert(rows.end(), of_rank.begin(), of_rank.end());
        }
        std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
            return std::tie(a.dataset, a.offset) < std::tie(b.dataset, b.offset);
        });
        return lay_out_file(path, header, groups, slices, rows, options.reserve_space);
    });
    const auto offsets =
        records_of_bytes<std::uint64_t>(communicator.all_gather_bytes(bytes_of_records(own_offsets)).front());

    std::optional<SharedFile> file;
    collectively(communicator, "opening the checkpoint on all ranks", [&] { file.emplace(communicator, path); });
    collectively(communicator, "writing the checkpoint",
                 [&] { write_own_slices(*file, path, groups, slices, offsets, options.elements_per_write); });
    collectively(communicator, "closing the checkpoint", [&] { file->close(); });
}

}  // namespace strata::dist
