// The collectives over NCCL, in device memory: one GPU a rank.
//
// Large operations run on a stream of this communicator's own. Starting one orders it after what the compute stream
// holds; Pending::wait() orders the compute stream after it. Neither stops the host, but for NCCL's first operations,
// which connect the ranks. Several pieces, or parts with gaps between them, are packed by one kernel into scratch
// memory, so that they are one message of NCCL's; scratch is as large as the largest operation's parts of all ranks,
// twice that with ordered sums, and is used by one operation after another.
//
// What sums promise: by default a reduce-scatter is NCCL's own sum over ranks, added to what `into` holds. NCCL chooses
// its order by message size and by the machines' links, and promises none. With `ordered_sums` (--deterministic) the
// interface's promise holds to the bit: every rank sends each other rank that one's parts (ncclSend and ncclRecv in one
// group, as many bytes as a ring) and adds up what it is sent in the order of ranks, 16-bit elements in
// fp32 (NCCL's own sums of these round on their way, as NCCL likes); an all-reduce is that and a gather.
//
// Operations can be captured into a CUDA graph with the compute stream's other work (optim/cuda_graph.h), once one as
// large has run: scratch does not move in a graph. Their ends are then watched with each replay's.
//
// Ranks that split get a communicator of their own from NCCL, connected anew: its streams and its errors are not this
// one's. Operations of both must be started in one order on all ranks, as NCCL asks; so ready() never says yes.
//
// Small operations go through the communicator it is made from (MPI), in host memory. How NCCL is watched and what its
// errors say: nccl_link.h.
#pragma once

#include <memory>

#include "dist/communicator.h"
#include "dist/nccl_link.h"
#include "dist/parts_kernel.h"

namespace strata::dist {

struct NcclOptions {
    int device = 0;
    CUstream_st* compute_stream = nullptr;  ///< that LibTorch computes in; null: CUDA's default one
    bool ordered_sums = false;
    NcclLimits limits;
};

class NcclCommunicator final : public Communicator {
  public:
    /// Collective over `small`, whose activity this one shares. Makes `options.device` the thread's current one.
    NcclCommunicator(std::unique_ptr<Communicator> small, std::shared_ptr<const NcclLibrary> nccl, NcclOptions options);

    /// For a second thread, which may make it its own with optim::use_device().
    std::unique_ptr<Communicator> duplicate() override;

    void begin_replay() override { link_->check(); }
    std::int64_t memory_moves() const override { return scratch_.moves(); }

  private:
    struct Packing;

    std::unique_ptr<Operation> start_all_reduce_sum(std::span<const BufferView> buffers) override;
    std::unique_ptr<Operation> start_all_gather(std::span<const PartedView> pieces) override;
    std::unique_ptr<Operation> start_reduce_scatter_sum(std::span<const SummedParts> pieces) override;
    void do_all_reduce_sum(std::span<double> values) override;
    std::int64_t do_all_reduce_max(std::int64_t value) override;
    void do_broadcast(std::span<std::byte> bytes, int root) override;
    std::vector<std::string> do_all_gather_bytes(const std::string& own) override;
    void do_barrier() override;
    std::unique_ptr<Communicator> do_split(int color) override;
    void do_end_replay() override { link_->watch("replayed operations", options_.compute_stream); }

    void begin();
    std::unique_ptr<Operation> end(const char* name);
    void gather_packed(const char* name, std::byte* packed, std::int64_t part_bytes);
    void exchange_packed(const char* name, const Packing& packing, std::byte* packed, std::byte* received);
    void add_up(const char* name, const Packing& packing, std::byte* packed);

    std::unique_ptr<Communicator> small_;
    std::shared_ptr<const NcclLibrary> nccl_;
    NcclOptions options_;
    optim::CudaStream stream_;
    optim::DeviceMemory scratch_{stream_.get()};
    std::shared_ptr<NcclLink> link_;  // operations may outlive the communicator
};

}  // namespace strata::dist
