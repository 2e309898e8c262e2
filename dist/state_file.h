// state.h5: the optimizer's state of all ranks in one HDF5 file without a trace of how many ranks wrote it.
//
//   /                        attributes: format, version, step, epoch, world_size, stage, plan_hash, update_hash,
//                            effective_config (TOML), provenance (JSON), model_fingerprint
//   /train                   JSON text: data cursor, seeds, schedule position, history, best metric
//   /groups/<name>           attributes: name, index, elements, step, frozen, multiplier, learning_rate, weight_decay,
//                            beta1, beta2, epsilon
//       members              table: name, offset, elements, shape ("30522x384"), decays
//       master exp_avg exp_avg_sq    float32, 1-D, contiguous: the group's logical content; absent where there is none
//   /checksums               table: dataset, offset, length, hash: XXH3-64 of the elements [offset, offset + length) as
//                            they were in the memory of the rank that wrote them; every element is in exactly one row
//
// A '/', '%' or a leading '.' in a group's name is written %2F, %25, %2E in its link; the attribute `name` is exact.
//
// Writing: rank 0 lays the file out alone (all metadata, checksums, space for the datasets), then all ranks open it
// through MPI-IO and write their slices to where the datasets lie. So a full disk shows before the collective part, and
// the collective part changes nothing but data. Reading is serial on every rank and needs no MPI.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "dist/hdf5.h"
#include "dist/mpi_communicator.h"
#include "dist/state.h"

namespace strata::dist {

/// Elements in a block of the checksum table: 4 MiB. Blocks lie on multiples of it, and are cut where slices meet.
inline constexpr std::int64_t checksum_block_elements = std::int64_t{1} << 20;

struct ChecksumRow {
    std::string dataset;  // "/groups/layer_0/exp_avg"
    std::int64_t offset = 0;
    std::int64_t length = 0;
    std::uint64_t hash = 0;
};

struct StateWriteOptions {
    /// Claims the file's space from the disk before the parallel part, where the file system can.
    bool reserve_space = true;
    /// Elements of one write; larger slices go in several, because MPI counts bytes in an int.
    std::int64_t elements_per_write = std::int64_t{1} << 27;
};

/// Bytes the file will take, a little more rather than less. Collective: every rank names its own slices.
std::uint64_t state_file_bytes(MpiCommunicator& communicator, const TrainHeader& header,
                               std::span<const StateGroup> groups);

/// Writes `path`. Collective; all ranks give equal groups but for slices and pointers, and rank 0's header is taken.
/// The own slices together cover each group exactly. On failure every rank throws the same error, having closed the
/// file; what was written of it stays for the caller to remove.
void write_state_file(MpiCommunicator& communicator, const std::filesystem::path& path, const TrainHeader& header,
                      std::span<const StateGroup> groups, const StateWriteOptions& options = {});

/// A group as a file holds it: slice 0..0 and null pointers in `group`, and the sets that are there.
struct StoredGroup {
    StateGroup group;
    std::array<bool, 3> present{};  // by StateKind
};

/// Elements [begin, end) of a dataset and where they go. Pieces of one read do not overlap.
struct StatePiece {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    float* destination = nullptr;
};

/// A state.h5 open for reading. Everything but the bulk is read and held against itself on opening (sizes, sums,
/// coverage), before anything large is allocated. SystemError for a damaged file, naming it and the dataset; UserError
/// for a missing file or one that is not strata's.
class StateFile {
  public:
    explicit StateFile(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    const TrainHeader& header() const { return header_; }
    const std::vector<StoredGroup>& groups() const { return groups_; }
    const std::vector<ChecksumRow>& checksums() const { return checksums_; }

    /// Reads pieces of one dataset, in any order, checking every block they touch.
    void read(std::size_t group, StateKind kind, std::vector<StatePiece> pieces) const;

    /// Checks share `part` of `parts` of the checksum rows against the file; one message for each that differs.
    std::vector<std::string> verify(int part = 0, int parts = 1) const;

    /// Where the datasets' bytes lie in the file, in file order: all of them, small ones too.
    struct Extent {
        std::string dataset;
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
        bool in_checksums = false;
    };
    std::vector<Extent> extents() const;

  private:
    void read_header();
    void read_groups();
    StoredGroup read_group(const std::string& link);
    void read_checksums();
    void check_coverage() const;
    std::string where(const std::string& object) const;
    std::string dataset_name(std::size_t group, StateKind kind) const;
    std::span<const ChecksumRow> rows_of(const std::string& dataset) const;
    void read_row(const ChecksumRow& row, const hdf5::Dataset& dataset, std::vector<float>& block) const;

    std::filesystem::path path_;
    hdf5::File file_;
    TrainHeader header_;
    std::vector<StoredGroup> groups_;
    std::vector<std::string> links_;      // the groups' names in the file
    std::vector<ChecksumRow> checksums_;  // sorted by dataset, then offset
};

}  // namespace strata::dist
