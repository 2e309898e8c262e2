#include "dist/mpi_reduction.h"

#include <algorithm>
#include <utility>

namespace strata::dist {
namespace {

constexpr int tag = 1;  // messages between two ranks keep their order, so one will do

template <typename Float>
void add(std::byte* to, const std::byte* from, std::int64_t count) {
    auto* __restrict sum = reinterpret_cast<Float*>(to);
    const auto* __restrict term = reinterpret_cast<const Float*>(from);
    for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

std::size_t scratch_bytes(const MpiPeers& peers, const ReducedBuffer& buffer) {
    return static_cast<std::size_t>((peers.size - 1) * buffer.part * bytes_of(buffer.type));
}

}  // namespace

MpiReduction::MpiReduction(Speaker speaker, const std::shared_ptr<ScratchPool>& pool, const MpiPeers& peers,
                           const ReducedBuffer& buffer, bool gathers)
    : speaker_(std::move(speaker)),
      peers_(peers),
      buffer_(buffer),
      gathers_(gathers),
      name_(gathers ? "all-reduce" : "reduce-scatter"),
      scratch_(pool, scratch_bytes(peers, buffer)) {}

/// Finds requests only where a message could not be started. Then no peer need have sent what this rank awaits, so
/// waiting could last for ever: the job is about to end with that error.
MpiReduction::~MpiReduction() {
    for (MPI_Request& request : receives_) {
        MPI_Cancel(&request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
    for (MPI_Request& request : sends_) MPI_Request_free(&request);
}

MpiReduction::Extent MpiReduction::extent(int rank) const {
    const std::int64_t begin = std::min(rank * buffer_.part, buffer_.count);
    const std::int64_t end = std::min(begin + buffer_.part, buffer_.count);
    return {buffer_.data + begin * bytes_of(buffer_.type), end - begin};
}

std::byte* MpiReduction::received(int distance) {
    return scratch_.data() + (distance - 1) * buffer_.part * bytes_of(buffer_.type);
}

/// Starts an extent's messages, each of at most max_count elements, by `start(data, count, type, request)`.
template <typename Start>
void MpiReduction::exchange(Extent extent, std::vector<MPI_Request>& requests, const Start& start) {
    for (std::int64_t begin = 0; begin < extent.count; begin += peers_.max_count) {
        const auto count = static_cast<int>(std::min(peers_.max_count, extent.count - begin));
        MPI_Request request = MPI_REQUEST_NULL;
        std::byte* const data = extent.data + begin * bytes_of(buffer_.type);
        speaker_.check(start(data, count, mpi_type_of(buffer_.type), &request), name_);
        requests.push_back(request);
    }
}

void MpiReduction::receive(Extent extent, int from) {
    exchange(extent, receives_, [&](std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
        return MPI_Irecv(data, count, type, from, tag, peers_.communicator, request);
    });
}

void MpiReduction::send(Extent extent, int to) {
    exchange(extent, sends_, [&](const std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
        return MPI_Isend(data, count, type, to, tag, peers_.communicator, request);
    });
}

/// Receives go first, so that what arrives has a place. Distances rise from the own rank on: no rank is everyone's
/// first.
void MpiReduction::start() {
    const std::int64_t own = extent(peers_.rank).count;
    for (int distance = 1; distance < peers_.size; ++distance) receive({received(distance), own}, peer(distance));
    for (int distance = peers_.size - 1; distance > 0; --distance) send(extent(peer(distance)), peer(distance));
}

void MpiReduction::wait() {
    settle();
    add_received();
    if (!gathers_) return;
    gather();
    settle();
}

void MpiReduction::add_received() {
    const Extent own = extent(peers_.rank);
    for (int distance = 1; distance < peers_.size; ++distance) {
        if (buffer_.type == ElementType::float32) {
            add<float>(own.data, received(distance), own.count);
        } else {
            add<double>(own.data, received(distance), own.count);
        }
    }
}

void MpiReduction::gather() {
    for (int distance = 1; distance < peers_.size; ++distance) receive(extent(peer(distance)), peer(distance));
    for (int distance = peers_.size - 1; distance > 0; --distance) send(extent(peers_.rank), peer(distance));
}

void MpiReduction::settle() {
    const int received = wait_for_all(receives_);
    const int sent = wait_for_all(sends_);
    speaker_.check(received, name_);
    speaker_.check(sent, name_);
}

}  // namespace strata::dist
