// Sums over ranks by direct exchange: every rank sends each other rank that one's part, adds the parts it is sent to
// its own, and, for an all-reduce, sends the sum of its part to all. The same bytes as a ring, 2S(N-1)/N for S, in two
// rounds of messages that are all under way together.
//
// Open MPI 4.1's own non-blocking all-reduce runs a schedule that misses shared memory's fast path (measured in
// docs/measurements.md). The order of the additions depends on the number of ranks alone: own part first, then the
// following ranks' in turn.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/mpi_operation.h"

namespace strata::dist {

struct MpiPeers {
    MPI_Comm communicator = MPI_COMM_NULL;
    int rank = 0;
    int size = 1;
    std::int64_t max_count = 0;  ///< the largest count of one message
};

/// `count` elements in parts of `part`, one for each rank; the last parts may be shorter or empty.
struct ReducedBuffer {
    std::byte* data = nullptr;
    std::int64_t count = 0;
    std::int64_t part = 0;
    ElementType type = ElementType::float32;
};

/// All-reduce when it `gathers`, else reduce-scatter. All ranks must wait for their reductions in one order.
class MpiReduction final : public Operation {
  public:
    MpiReduction(Speaker speaker, const std::shared_ptr<ScratchPool>& pool, const MpiPeers& peers,
                 const ReducedBuffer& buffer, bool gathers);
    ~MpiReduction() override;
    MpiReduction(const MpiReduction&) = delete;
    MpiReduction& operator=(const MpiReduction&) = delete;

    void start();
    void wait() override;

  private:
    struct Extent {
        std::byte* data;
        std::int64_t count;
    };

    Extent extent(int rank) const;
    std::byte* received(int distance);
    int peer(int distance) const { return (peers_.rank + distance) % peers_.size; }
    template <typename Start>
    void exchange(Extent extent, std::vector<MPI_Request>& requests, const Start& start);
    void receive(Extent extent, int from);
    void send(Extent extent, int to);
    void add_received();
    void gather();
    void settle();

    Speaker speaker_;
    MpiPeers peers_;
    ReducedBuffer buffer_;
    bool gathers_;
    const char* name_;
    Scratch scratch_;  // what the other ranks send for the own part, in the order of their distance
    std::vector<MPI_Request> receives_;
    std::vector<MPI_Request> sends_;
};

}  // namespace strata::dist
