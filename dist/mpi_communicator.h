// The collectives over MPI, in host memory. Works wherever mpirun does.
//
// Each MpiCommunicator owns a duplicate of the communicator it was made from, so that its messages meet no one else's.
// Counts may exceed what MPI's int arguments hold; they are split. 16-bit floats are added in
// fp32 (communicator.h). Errors: MPI's own words as a SystemError naming rank, host and operation.
#pragma once

#include <mpi.h>

#include <climits>
#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace strata::dist {

class ScratchPool;
struct ReducedPiece;

/// How ranks wait for one another. MPI itself waits by asking again and again: at once when the others come, and all
/// the time on a core. A thread that is not to take the core from training sleeps in between (blocking calls only).
enum class Waiting { awake, asleep };

class MpiCommunicator final : public Communicator {
  public:
    /// Collective over `parent`. `max_count` is the largest count given to one MPI call; tests lower it.
    explicit MpiCommunicator(MPI_Comm parent = MPI_COMM_WORLD, std::int64_t max_count = INT_MAX,
                             Waiting waiting = Waiting::awake);
    ~MpiCommunicator() override;

    /// For libraries that take an MPI communicator themselves (parallel HDF5).
    MPI_Comm handle() const { return comm_; }

    std::unique_ptr<Communicator> duplicate() override;

  private:
    std::unique_ptr<Operation> start_all_reduce_sum(std::span<const BufferView> buffers) override;
    std::unique_ptr<Operation> start_all_gather(std::span<const PartedView> pieces) override;
    MPI_Request start_gather_in_place(void* data, MPI_Datatype part) const;
    std::unique_ptr<Operation> start_reduce_scatter_sum(std::span<const SummedParts> pieces) override;
    std::unique_ptr<Operation> start_reduction(std::vector<ReducedPiece> pieces, ElementType type, bool gathers);
    std::unique_ptr<Operation> start_reduction_of_all(std::byte* data, std::int64_t count, ElementType type);
    void do_all_reduce_sum(std::span<double> values) override;
    std::int64_t do_all_reduce_max(std::int64_t value) override;
    void do_broadcast(std::span<std::byte> bytes, int root) override;
    std::vector<std::string> do_all_gather_bytes(const std::string& own) override;
    void do_barrier() override;
    std::unique_ptr<Communicator> do_split(int color) override;

    std::vector<std::string> gather_short(const std::string& own, std::span<const std::int64_t> sizes) const;
    std::vector<std::string> gather_long(const std::string& own, std::span<const std::int64_t> sizes);

    /// Returns when all ranks are here, so that what follows need not wait; does nothing where ranks wait awake.
    void meet() const;

    /// Throws SystemError unless `status` is MPI_SUCCESS.
    void check(int status, const char* operation) const;

    MPI_Comm comm_ = MPI_COMM_NULL;
    std::int64_t max_count_ = INT_MAX;
    Waiting waiting_ = Waiting::awake;
    std::int64_t reductions_ = 0;           // started
    int exceptions_ = 0;                    // under way when this was made
    std::shared_ptr<ScratchPool> scratch_;  // shared with operations under way, which may outlive the communicator
};

}  // namespace strata::dist
