#include "dist/communicator.h"

#include <utility>

#include "core/error.h"

namespace strata::dist {
namespace {

/// Bytes a rank sends when S bytes pass once round a ring of N ranks: S(N-1)/N, rounded down once, at the end.
std::int64_t ring_bytes(std::int64_t bytes, int ranks) {
    return bytes * (ranks - 1) / ranks;
}

void count(Traffic& traffic, std::int64_t bytes) {
    traffic.calls += 1;
    traffic.bytes += bytes;
}

void require_parts(const PartedView& parts) {
    STRATA_CHECK(parts.count <= parts.stride, "parts of {} elements at a stride of {}", parts.count, parts.stride);
}

Traffic sum(const Traffic& a, const Traffic& b) {
    return {a.calls + b.calls, a.bytes + b.bytes};
}

Traffic difference(const Traffic& a, const Traffic& b) {
    return {a.calls - b.calls, a.bytes - b.bytes};
}

}  // namespace

std::int64_t bytes_of(ElementType type) {
    switch (type) {
        case ElementType::float32:
            return 4;
        case ElementType::float64:
            return 8;
        case ElementType::bfloat16:
        case ElementType::float16:
            return 2;
    }
    STRATA_CHECK(false, "unknown element type {}", static_cast<int>(type));
}

Pending& Pending::operator=(Pending&& other) noexcept {
    const Pending held(std::move(*this));  // waits for what this held
    operation_ = std::move(other.operation_);
    activity_ = std::move(other.activity_);
    name_ = other.name_;
    return *this;
}

Pending::~Pending() {
    try {
        wait();
    } catch (const std::exception&) {
        // The caller left without waiting, so an error is on its way already; a second one would end the process.
    }
}

void Pending::wait() {
    const auto operation = std::exchange(operation_, nullptr);
    if (!operation) return;
    const Activity::Waiting waiting(*activity_, name_);
    operation->wait();
}

std::int64_t TrafficCounters::calls() const {
    return all_reduce.calls + all_gather.calls + reduce_scatter.calls + broadcast.calls;
}

std::int64_t TrafficCounters::bytes() const {
    return all_reduce.bytes + all_gather.bytes + reduce_scatter.bytes + broadcast.bytes;
}

TrafficCounters TrafficCounters::operator-(const TrafficCounters& earlier) const {
    return {difference(all_reduce, earlier.all_reduce), difference(all_gather, earlier.all_gather),
            difference(reduce_scatter, earlier.reduce_scatter), difference(broadcast, earlier.broadcast)};
}

TrafficCounters TrafficCounters::operator+(const TrafficCounters& other) const {
    return {sum(all_reduce, other.all_reduce), sum(all_gather, other.all_gather),
            sum(reduce_scatter, other.reduce_scatter), sum(broadcast, other.broadcast)};
}

Pending Communicator::all_reduce_sum(const BufferView& buffer) {
    return all_reduce_sum(std::span(&buffer, 1));
}

Pending Communicator::all_reduce_sum(std::span<const BufferView> buffers) {
    std::int64_t bytes = 0;
    for (const BufferView& buffer : buffers) {
        STRATA_CHECK(buffer.type == buffers.front().type, "buffers of two types in one all-reduce");
        bytes += buffer.count * bytes_of(buffer.type);
    }
    count(traffic_.all_reduce, ring_bytes(2 * bytes, size_));
    return {start_all_reduce_sum(buffers), activity_, "all-reduce"};
}

Pending Communicator::all_gather(const PartedView& parts) {
    return all_gather(std::span(&parts, 1));
}

Pending Communicator::all_gather(std::span<const PartedView> pieces) {
    std::int64_t bytes = 0;
    for (const PartedView& piece : pieces) {
        require_parts(piece);
        bytes += ring_bytes(piece.count * size_ * bytes_of(piece.type), size_);
    }
    count(traffic_.all_gather, bytes);
    return {start_all_gather(pieces), activity_, "all-gather"};
}

Pending Communicator::reduce_scatter_sum(const PartedView& parts) {
    const SummedParts piece{parts};
    return reduce_scatter_sum(std::span(&piece, 1));
}

Pending Communicator::reduce_scatter_sum(std::span<const SummedParts> pieces) {
    std::int64_t bytes = 0;
    for (const auto& [parts, into, adds] : pieces) {
        require_parts(parts);
        bytes += ring_bytes(parts.count * size_ * bytes_of(parts.type), size_);
    }
    count(traffic_.reduce_scatter, bytes);
    return {start_reduce_scatter_sum(pieces), activity_, "reduce-scatter"};
}

void Communicator::all_reduce_sum(std::span<double> values) {
    count(traffic_.all_reduce, ring_bytes(2 * static_cast<std::int64_t>(values.size_bytes()), size_));
    const Activity::Waiting waiting(*activity_, "all-reduce");
    do_all_reduce_sum(values);
}

std::int64_t Communicator::all_reduce_max(std::int64_t value) {
    count(traffic_.all_reduce, ring_bytes(2 * static_cast<std::int64_t>(sizeof(value)), size_));
    const Activity::Waiting waiting(*activity_, "all-reduce");
    return do_all_reduce_max(value);
}

void Communicator::broadcast(std::span<std::byte> bytes, int root) {
    count(traffic_.broadcast, size_ > 1 ? static_cast<std::int64_t>(bytes.size()) : 0);
    const Activity::Waiting waiting(*activity_, "broadcast");
    do_broadcast(bytes, root);
}

std::vector<std::string> Communicator::all_gather_bytes(const std::string& own) {
    count(traffic_.all_gather, static_cast<std::int64_t>(own.size()) * (size_ - 1));
    const Activity::Waiting waiting(*activity_, "all-gather");
    return do_all_gather_bytes(own);
}

std::unique_ptr<Communicator> Communicator::split(int color) {
    std::unique_ptr<Communicator> part = do_split(color);
    part->activity_ = activity_;
    return part;
}

void Communicator::barrier() {
    const Activity::Waiting waiting(*activity_, "barrier");
    do_barrier();
}

}  // namespace strata::dist
