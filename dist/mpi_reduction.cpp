#include "dist/mpi_reduction.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "core/error.h"

namespace strata::dist {
namespace {

constexpr int tag = 1;  // messages between two ranks keep their order, so one will do

/// sum[i] = start[i] + terms[0][i] + terms[1][i] + ..., each addition rounded. `start` may be null; `sum` may be any of
/// the others. In blocks, so that every buffer passes through the cache once.
template <typename Float>
void fold(Float* sum, const Float* start, std::span<const Float* const> terms, std::int64_t count) {
    constexpr std::int64_t block = 2048;
    std::array<Float, block> values;
    for (std::int64_t begin = 0; begin < count; begin += block) {
        const std::int64_t size = std::min(block, count - begin);
        auto rest = terms;
        const Float* first = start;
        if (first == nullptr) {
            first = rest.front();
            rest = rest.subspan(1);
        }
        std::copy_n(first + begin, size, values.data());
        for (const Float* term : rest) {
            const Float* from = term + begin;
            for (std::int64_t i = 0; i < size; ++i) values[static_cast<std::size_t>(i)] += from[i];
        }
        std::copy_n(values.data(), size, sum + begin);
    }
}

std::int64_t elements_of_part(const std::vector<ReducedPiece>& pieces) {
    std::int64_t count = 0;
    for (const ReducedPiece& piece : pieces) count += piece.count;
    return count;
}

/// Of one part of every other rank.
std::size_t peers_bytes(const MpiPeers& peers, const std::vector<ReducedPiece>& pieces, ElementType type) {
    return static_cast<std::size_t>((peers.size - 1) * elements_of_part(pieces) * bytes_of(type));
}

}  // namespace

MpiReduction::MpiReduction(Speaker speaker, std::shared_ptr<ScratchPool> pool, const MpiPeers& peers,
                           std::vector<ReducedPiece> pieces, ElementType type, bool gathers)
    : speaker_(std::move(speaker)),
      peers_(peers),
      pieces_(std::move(pieces)),
      type_(type),
      gathers_(gathers),
      name_(gathers ? "all-reduce" : "reduce-scatter"),
      received_(pool, peers_bytes(peers, pieces_, type)),
      packed_(pool, pieces_.size() > 1 ? peers_bytes(peers, pieces_, type) : 0) {
    STRATA_CHECK(!gathers || pieces_.size() == 1, "an all-reduce of {} pieces", pieces_.size());
}

/// Finds requests only where a message could not be started. Then no peer need have sent what this rank awaits, so
/// waiting could last for ever: the job is about to end with that error.
MpiReduction::~MpiReduction() {
    for (MPI_Request& request : receives_) {
        MPI_Cancel(&request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
    for (MPI_Request& request : sends_) MPI_Request_free(&request);
}

MpiReduction::Extent MpiReduction::extent(const ReducedPiece& piece, int rank) const {
    const std::int64_t begin = std::min(rank * piece.stride, piece.end);
    const std::int64_t end = std::min(begin + piece.count, piece.end);
    return {piece.data + begin * bytes_of(type_), end - begin};
}

std::int64_t MpiReduction::elements(int rank) const {
    std::int64_t count = 0;
    for (const ReducedPiece& piece : pieces_) count += extent(piece, rank).count;
    return count;
}

std::byte* MpiReduction::received(int distance) {
    return received_.data() + (distance - 1) * elements_of_part(pieces_) * bytes_of(type_);
}

/// What `rank` is sent: its part where it lies, or its parts of several pieces packed into one message.
MpiReduction::Extent MpiReduction::message(int rank) {
    if (pieces_.size() == 1) return extent(pieces_.front(), rank);
    const int place = rank < peers_.rank ? rank : rank - 1;
    std::byte* const begin = packed_.data() + place * elements_of_part(pieces_) * bytes_of(type_);
    std::byte* at = begin;
    for (const ReducedPiece& piece : pieces_) {
        const Extent part = extent(piece, rank);
        at = std::copy_n(part.data, part.count * bytes_of(type_), at);
    }
    return {begin, (at - begin) / bytes_of(type_)};
}

/// Starts an extent's messages, each of at most max_count elements, by `start(data, count, type, request)`.
template <typename Start>
void MpiReduction::exchange(Extent extent, std::vector<MPI_Request>& requests, const Start& start) {
    for (std::int64_t begin = 0; begin < extent.count; begin += peers_.max_count) {
        const auto count = static_cast<int>(std::min(peers_.max_count, extent.count - begin));
        MPI_Request request = MPI_REQUEST_NULL;
        std::byte* const data = extent.data + begin * bytes_of(type_);
        speaker_.check(start(data, count, mpi_type_of(type_), &request), name_);
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
    const std::int64_t own = elements(peers_.rank);
    for (int distance = 1; distance < peers_.size; ++distance) receive({received(distance), own}, peer(distance));
    for (int distance = peers_.size - 1; distance > 0; --distance) send(message(peer(distance)), peer(distance));
}

void MpiReduction::progress() {
    int done = 0;  // asking is what moves MPI on; the requests stay for wait(), errors and all
    if (!receives_.empty()) MPI_Request_get_status(receives_.back(), &done, MPI_STATUS_IGNORE);
}

void MpiReduction::wait() {
    settle();
    if (type_ == ElementType::float32) {
        add_received<float>();
    } else {
        add_received<double>();
    }
    if (!gathers_) return;
    gather();
    settle();
}

template <typename Float>
void MpiReduction::add_received() {
    std::vector<const Float*> terms(static_cast<std::size_t>(peers_.size));
    std::int64_t at = 0;
    for (const ReducedPiece& piece : pieces_) {
        const Extent own = extent(piece, peers_.rank);
        for (int distance = 1; distance < peers_.size; ++distance) {
            terms[static_cast<std::size_t>(peer(distance))] = reinterpret_cast<const Float*>(received(distance)) + at;
        }
        auto* const data = reinterpret_cast<Float*>(own.data);
        auto* const into = reinterpret_cast<Float*>(piece.into);
        terms[static_cast<std::size_t>(peers_.rank)] = data;
        // One rank's sum is what it has.
        if (peers_.size > 1 || into != nullptr) fold<Float>(into != nullptr ? into : data, into, terms, own.count);
        at += own.count;
    }
}

/// Of an all-reduce's only piece.
void MpiReduction::gather() {
    const ReducedPiece& piece = pieces_.front();
    for (int distance = 1; distance < peers_.size; ++distance) {
        receive(extent(piece, peer(distance)), peer(distance));
    }
    for (int distance = peers_.size - 1; distance > 0; --distance) send(extent(piece, peers_.rank), peer(distance));
}

void MpiReduction::settle() {
    const int received = wait_for_all(receives_);
    const int sent = wait_for_all(sends_);
    speaker_.check(received, name_);
    speaker_.check(sent, name_);
}

}  // namespace strata::dist
