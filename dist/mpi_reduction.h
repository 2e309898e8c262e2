// Sums over ranks by direct exchange: every rank sends each other rank that one's parts, adds the parts it is sent to
// its own, and, for an all-reduce, sends the sum to all. The same bytes as a ring, 2S(N-1)/N for S, in two rounds of
// messages that are all under way together; a reduce-scatter is the first round alone.
//
// Open MPI 4.1's own non-blocking all-reduce runs a schedule that misses shared memory's fast path (measured in
// docs/measurements.md). Every element is summed in the order of ranks, 16-bit floats in fp32.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/mpi_operation.h"

namespace strata::dist {

struct MpiPeers {
    MPI_Comm communicator = MPI_COMM_NULL;
    int rank = 0;
    int size = 1;
    std::int64_t max_count = 0;  ///< the largest count of one message
    std::int64_t number = 0;     ///< of this reduction, on every rank: tells its messages from the others'
};

/// Elements in parts at equal distances, one part a rank; the last ones may be shorter or empty.
struct ReducedPiece {
    std::byte* data = nullptr;
    std::int64_t count = 0;     ///< of a part
    std::int64_t stride = 0;    ///< from one part's first element to the next one's
    std::int64_t end = 0;       ///< past the last part's last element, from data
    std::byte* into = nullptr;  ///< where the own part's sum goes to (fp32 for 16 bits); null: it replaces that part
    bool adds = true;           ///< to what lies in `into`
};

/// Of one or several pieces of one type. All-reduce when it `gathers`, else reduce-scatter. The second round of an
/// all-reduce leaves as soon as progress() or wait() finds the first one done.
class MpiReduction final : public Operation {
  public:
    MpiReduction(Speaker speaker, const std::shared_ptr<ScratchPool>& pool, const MpiPeers& peers,
                 std::vector<ReducedPiece> pieces, ElementType type, bool gathers);
    ~MpiReduction() override;
    MpiReduction(const MpiReduction&) = delete;
    MpiReduction& operator=(const MpiReduction&) = delete;

    void start();
    void wait() override;
    void progress() override;
    bool ready() override;

  private:
    struct Extent {
        std::byte* data;
        std::int64_t count;
    };

    /// Pieces that make one message: a large one where it lies, or small ones that follow one another, packed.
    struct Run {
        std::span<const ReducedPiece> pieces;
        bool packed = false;
        std::int64_t at = 0;  ///< elements of a part that are packed before these
    };

    /// Some elements of a piece's own part, from `begin` on, and where they begin in what each other rank has sent.
    struct Block {
        const ReducedPiece* piece;
        std::int64_t begin, size, at;
    };

    static std::vector<Run> runs_of(std::span<const ReducedPiece> pieces, ElementType type);
    static std::int64_t packed_elements(const std::vector<Run>& runs);
    Extent extent(const ReducedPiece& piece, int rank) const;
    Extent message(const Run& run, int rank);
    std::byte* received(int distance);
    int peer(int distance) const { return (peers_.rank + distance) % peers_.size; }
    template <typename Start>
    void exchange(Extent extent, std::vector<MPI_Request>& requests, const Start& start);
    int tag() const;
    void receive(Extent extent, int from);
    void send(Extent extent, int to);
    template <typename Element>
    void add_received();
    template <typename Element>
    void add_block(const Block& which);
    void gather();
    bool round_done();
    void add();
    void settle();

    Speaker speaker_;
    MpiPeers peers_;
    std::vector<ReducedPiece> pieces_;
    ElementType type_;
    bool gathers_;
    const char* name_;
    std::vector<Run> runs_;
    std::int64_t part_elements_;    // of all pieces' parts together
    std::int64_t packed_elements_;  // of those that are packed
    Scratch received_;              // what the other ranks send of the own parts, in the order of their distance
    Scratch packed_;                // what is sent of small pieces, in the order of the peers' ranks
    std::vector<MPI_Request> receives_;
    std::vector<MPI_Request> sends_;
    bool added_ = false;  // the first round is over
};

}  // namespace strata::dist
