// How the ranks of one job talk to one another.
//
// A Communicator offers the few collectives that data-parallel training needs. Large ones work on buffers in place and
// do not block: they return a Pending, and the buffer belongs to the operation until Pending::wait() has returned.
// Small ones (flags, norms, messages) block. Every rank must start the same operations in the same order with equal
// counts, and wait for them in one order.
//
// Buffers are described by a view that says type and memory, so that one interface serves backends that reach host
// memory (MPI, mpi_communicator.h) and device memory. A backend for device memory owns its stream: starting an
// operation orders it after what its compute stream holds already, and wait() orders the compute stream after the
// operation without stopping the host.
//
// Counts are in elements, traffic in bytes. Errors: SystemError naming rank, host and operation when the transport
// fails; a type or memory that the backend cannot reach is a bug in the caller (STRATA_CHECK).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dist/activity.h"

namespace strata::dist {

enum class ElementType { float32, float64, bfloat16, float16 };
enum class Memory { host, cuda };

std::int64_t bytes_of(ElementType type);

/// `count` elements that lie one after another at `data`.
struct BufferView {
    void* data = nullptr;
    std::int64_t count = 0;
    ElementType type = ElementType::float32;
    Memory memory = Memory::host;

    static BufferView of(std::span<float> values) {
        return {values.data(), static_cast<std::int64_t>(values.size()), ElementType::float32, Memory::host};
    }
    static BufferView of(std::span<double> values) {
        return {values.data(), static_cast<std::int64_t>(values.size()), ElementType::float64, Memory::host};
    }
};

/// Parts of equal size, one a rank, at equal distances: rank r's `count` elements begin at data + r * stride elements.
struct PartedView {
    void* data = nullptr;
    std::int64_t count = 0;
    std::int64_t stride = 0;
    ElementType type = ElementType::float32;
    Memory memory = Memory::host;

    /// A whole buffer of `size` equal parts without gaps.
    static PartedView of(std::span<float> values, int size) {
        const auto part = static_cast<std::int64_t>(values.size()) / size;
        return {values.data(), part, part, ElementType::float32, Memory::host};
    }
};

/// Parts to be summed over ranks, each to the rank that owns it. The own part's sum replaces it, or, with `into`, is
/// added to that buffer: `count` elements in the same memory, fp32 where the parts are of 16 bits, else of their type.
/// Unless it `adds`, it replaces what lies there.
struct SummedParts {
    PartedView parts;
    void* into = nullptr;
    bool adds = true;
};

/// What a backend keeps while an operation is under way.
class Operation {
  public:
    virtual ~Operation() = default;
    /// Returns when the buffers belong to the caller again. Called once.
    virtual void wait() = 0;
    /// Moves the transfer on where nothing else does. Never blocks; an error shows in wait().
    virtual void progress() {}
    /// Whether wait() would return at once; false where that is not known.
    virtual bool ready() { return false; }
};

/// An operation under way. Waits when it goes, so that no buffer is freed under a running transfer.
class Pending {
  public:
    Pending() = default;  // nothing under way
    /// `activity` learns that the rank waits, when it does, and `name` what for.
    Pending(std::unique_ptr<Operation> operation, std::shared_ptr<Activity> activity, const char* name)
        : operation_(std::move(operation)), activity_(std::move(activity)), name_(name) {}
    Pending(Pending&&) noexcept = default;
    Pending& operator=(Pending&& other) noexcept;
    ~Pending();

    /// Idempotent. Throws SystemError if the transfer failed.
    void wait();
    void progress() {
        if (operation_) operation_->progress();
    }
    bool ready() { return !operation_ || operation_->ready(); }
    bool active() const { return operation_ != nullptr; }

  private:
    std::unique_ptr<Operation> operation_;
    std::shared_ptr<Activity> activity_;
    const char* name_ = "";
};

/// Calls and bytes that each rank sent, by the closed formulas of ring algorithms (the least any algorithm built on
/// point-to-point messages can do): S bytes over N ranks cost 2S(N-1)/N to all-reduce, S(N-1)/N to gather or
/// reduce-scatter, S to broadcast. (nccl-tests, doc/PERFORMANCE.md)
struct Traffic {
    std::int64_t calls = 0;
    std::int64_t bytes = 0;
};

struct TrafficCounters {
    Traffic all_reduce;
    Traffic all_gather;
    Traffic reduce_scatter;
    Traffic broadcast;

    std::int64_t calls() const;
    std::int64_t bytes() const;
    TrafficCounters operator-(const TrafficCounters& earlier) const;
    TrafficCounters operator+(const TrafficCounters& other) const;
};

class Communicator {
  public:
    virtual ~Communicator() = default;
    Communicator(const Communicator&) = delete;
    Communicator& operator=(const Communicator&) = delete;

    int rank() const { return rank_; }
    int size() const { return size_; }
    int local_rank() const { return local_rank_; }  // among the ranks of this host
    int local_size() const { return local_size_; }
    const std::string& host() const { return host_; }

    // Large and non-blocking. For a fixed number of ranks and equal counts the result has the same bits every time, and
    // the same bits on every rank.

    /// Element-wise sum over ranks, in place.
    Pending all_reduce_sum(const BufferView& buffer);
    /// Several buffers of one type as one operation, counted as one call.
    Pending all_reduce_sum(std::span<const BufferView> buffers);
    /// Each rank brings its own part; afterwards every rank holds all parts.
    Pending all_gather(const PartedView& parts);
    /// Several gathers as one operation, counted as one call: what is many small tensors to the caller is one message
    /// to the network. A backend may need scratch memory as large as all pieces together (buckets.h bounds it).
    Pending all_gather(std::span<const PartedView> pieces);
    /// Each rank gets the sum of its own parts; the other parts keep what they held. Several as one operation, counted
    /// as one call. An element is summed in the order of ranks, after what `into` holds if the piece adds, by rounding
    /// to its own type after each addition: so adding up micro-batch after micro-batch gives the same bits on any
    /// number of ranks. 16-bit elements are added in fp32, and without `into` rounded once, at the end (to nearest,
    /// ties to even). (NCCL keeps this order only where it is asked to, nccl_communicator.h.)
    Pending reduce_scatter_sum(std::span<const SummedParts> pieces);
    Pending reduce_scatter_sum(const PartedView& parts);

    // Small and blocking, host memory.

    void all_reduce_sum(std::span<double> values);
    std::int64_t all_reduce_max(std::int64_t value);
    /// Rank `root`'s bytes to all.
    void broadcast(std::span<std::byte> bytes, int root = 0);
    /// Every rank's string, of any length, in rank order.
    std::vector<std::string> all_gather_bytes(const std::string& own);
    void barrier();

    /// A communicator over the same ranks whose operations never meet this one's: for a second thread. Collective.
    virtual std::unique_ptr<Communicator> duplicate() = 0;

    /// A communicator over the ranks that name the same color, in their order here; for the same thread, so that their
    /// waits are this rank's. Collective.
    std::unique_ptr<Communicator> split(int color);

    const TrafficCounters& traffic() const { return traffic_; }

    // Operations that were captured with other work of the device, and are replayed with it (optim/replayed_work.h).
    // Every rank replays what it captured together with the others.

    /// Throws what an operation would throw now.
    virtual void begin_replay() {}
    /// After the replay; `captured` is what was counted while its operations were captured.
    void end_replay(const TrafficCounters& captured) {
        traffic_ = traffic_ + captured;
        do_end_replay();
    }
    /// How often memory that operations work in has moved: those that were captured before are not to be replayed.
    virtual std::int64_t memory_moves() const { return 0; }

    /// What this rank is doing; the operations above write their waits into it.
    Activity& activity() const { return *activity_; }
    const std::shared_ptr<Activity>& shared_activity() const { return activity_; }

  protected:
    Communicator() = default;
    /// For one that is built on another: what the rank does is one thing.
    explicit Communicator(std::shared_ptr<Activity> activity) : activity_(std::move(activity)) {}

    int rank_ = 0;
    int size_ = 1;
    int local_rank_ = 0;
    int local_size_ = 1;
    std::string host_;

  private:
    virtual std::unique_ptr<Operation> start_all_reduce_sum(std::span<const BufferView> buffers) = 0;
    virtual std::unique_ptr<Operation> start_all_gather(std::span<const PartedView> pieces) = 0;
    virtual std::unique_ptr<Operation> start_reduce_scatter_sum(std::span<const SummedParts> pieces) = 0;
    virtual void do_all_reduce_sum(std::span<double> values) = 0;
    virtual std::int64_t do_all_reduce_max(std::int64_t value) = 0;
    virtual void do_broadcast(std::span<std::byte> bytes, int root) = 0;
    virtual std::vector<std::string> do_all_gather_bytes(const std::string& own) = 0;
    virtual void do_barrier() = 0;
    virtual std::unique_ptr<Communicator> do_split(int color) = 0;
    virtual void do_end_replay() {}

    TrafficCounters traffic_;
    std::shared_ptr<Activity> activity_ = std::make_shared<Activity>();  // operations may outlive the communicator
};

}  // namespace strata::dist
