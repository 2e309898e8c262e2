#include "dist/mpi_reduction.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "core/error.h"
#include "optim/compute_type.h"
#include "optim/instruction_sets.h"

namespace strata::dist {
namespace {

// The standard promises tags up to 32767. So many reductions are never under way, and messages of one tag between two
// ranks keep their order.
constexpr std::int64_t most_tags = 32768;

STRATA_CLONES void add(const float* __restrict from, float* __restrict sums, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += from[i];
}
STRATA_CLONES void add(const double* __restrict from, double* __restrict sums, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += from[i];
}

// What an element is in memory (Stored), and in what it is added up (Sum).

template <typename Float>
struct Plain {
    using Stored = Float;
    using Sum = Float;
    static void start(const Float* from, Float* sums, std::int64_t count) { std::copy_n(from, count, sums); }
    static void add(const Float* from, Float* sums, std::int64_t count) { dist::add(from, sums, count); }
    static void store(const Float* sums, Float* to, std::int64_t count) { std::copy_n(sums, count, to); }
};

template <optim::ComputeType type>
struct Sixteen {
    using Stored = std::uint16_t;
    using Sum = float;
    static void start(const Stored* from, float* sums, std::int64_t count) { optim::widen(from, sums, count, type); }
    static void add(const Stored* from, float* sums, std::int64_t count) {
        optim::add_widened(from, sums, count, type);
    }
    static void store(const float* sums, Stored* to, std::int64_t count) { optim::narrow(sums, to, count, type); }
};

/// What is added up at once: it stays in the first cache while terms pass by.
constexpr std::int64_t block = 2048;
/// Fewer are not worth a team of threads.
constexpr std::int64_t blocks_of_a_thread = 8;

std::int64_t elements_of_part(std::span<const ReducedPiece> pieces) {
    std::int64_t count = 0;
    for (const ReducedPiece& piece : pieces) count += piece.count;
    return count;
}

/// Of as many elements for every other rank.
std::size_t peers_bytes(const MpiPeers& peers, std::int64_t elements, ElementType type) {
    return static_cast<std::size_t>((peers.size - 1) * elements * bytes_of(type));
}

}  // namespace

MpiReduction::MpiReduction(Speaker speaker, const std::shared_ptr<ScratchPool>& pool, const MpiPeers& peers,
                           std::vector<ReducedPiece> pieces, ElementType type, bool gathers)
    : speaker_(std::move(speaker)),
      peers_(peers),
      pieces_(std::move(pieces)),
      type_(type),
      gathers_(gathers),
      name_(gathers ? "all-reduce" : "reduce-scatter"),
      runs_(runs_of(pieces_, type)),
      part_elements_(elements_of_part(pieces_)),
      packed_elements_(packed_elements(runs_)),
      received_(pool, peers_bytes(peers, part_elements_, type)),
      packed_(pool, peers_bytes(peers, packed_elements_, type)) {
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

/// By the counts of whole parts, which are the same on all ranks.
std::vector<MpiReduction::Run> MpiReduction::runs_of(std::span<const ReducedPiece> pieces, ElementType type) {
    std::vector<Run> runs;
    std::int64_t packed = 0;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (travels_alone(pieces.size(), pieces[i].count * bytes_of(type))) {
            runs.push_back({pieces.subspan(i, 1)});
            continue;
        }
        if (runs.empty() || !runs.back().packed) runs.push_back({pieces.subspan(i, 0), true, packed});
        runs.back().pieces = {runs.back().pieces.data(), runs.back().pieces.size() + 1};
        packed += pieces[i].count;
    }
    return runs;
}

/// Of a part of all pieces.
std::int64_t MpiReduction::packed_elements(const std::vector<Run>& runs) {
    std::int64_t count = 0;
    for (const Run& run : runs) count += run.packed ? elements_of_part(run.pieces) : 0;
    return count;
}

std::byte* MpiReduction::received(int distance) {
    return received_.data() + (distance - 1) * part_elements_ * bytes_of(type_);
}

/// What `rank` is sent of a run.
MpiReduction::Extent MpiReduction::message(const Run& run, int rank) {
    if (!run.packed) return extent(run.pieces.front(), rank);
    const int place = rank < peers_.rank ? rank : rank - 1;
    std::byte* const begin = packed_.data() + (place * packed_elements_ + run.at) * bytes_of(type_);
    std::byte* at = begin;
    for (const ReducedPiece& piece : run.pieces) {
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

/// Each round's own: another reduction's first round may begin before or after this one's second.
int MpiReduction::tag() const {
    return static_cast<int>((2 * peers_.number + (added_ ? 1 : 0)) % most_tags);
}

void MpiReduction::receive(Extent extent, int from) {
    exchange(extent, receives_, [&](std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
        return MPI_Irecv(data, count, type, from, tag(), peers_.communicator, request);
    });
}

void MpiReduction::send(Extent extent, int to) {
    exchange(extent, sends_, [&](const std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
        return MPI_Isend(data, count, type, to, tag(), peers_.communicator, request);
    });
}

/// Receives go first, so that what arrives has a place. Distances rise from the own rank on: no rank is everyone's
/// first.
void MpiReduction::start() {
    for (int distance = 1; distance < peers_.size; ++distance) {
        std::byte* at = received(distance);
        for (const Run& run : runs_) {
            std::int64_t count = 0;
            for (const ReducedPiece& piece : run.pieces) count += extent(piece, peers_.rank).count;
            receive({at, count}, peer(distance));
            at += count * bytes_of(type_);
        }
    }
    for (int distance = peers_.size - 1; distance > 0; --distance) {
        for (const Run& run : runs_) send(message(run, peer(distance)), peer(distance));
    }
}

/// Asking is what moves MPI on; the requests stay for wait(), errors and all.
bool MpiReduction::round_done() {
    const auto done = [](MPI_Request& request) {
        int yes = 0;
        return MPI_Request_get_status(request, &yes, MPI_STATUS_IGNORE) == MPI_SUCCESS && yes != 0;
    };
    return std::all_of(receives_.begin(), receives_.end(), done) && std::all_of(sends_.begin(), sends_.end(), done);
}

void MpiReduction::progress() {
    if (round_done() && gathers_ && !added_) add();
}

bool MpiReduction::ready() {
    return round_done() && (added_ || !gathers_);
}

void MpiReduction::wait() {
    if (!added_) add();
    settle();
}

/// Ends the first round and begins the second, if there is one.
void MpiReduction::add() {
    settle();
    switch (type_) {
        case ElementType::float32:
            add_received<Plain<float>>();
            break;
        case ElementType::float64:
            add_received<Plain<double>>();
            break;
        case ElementType::bfloat16:
            add_received<Sixteen<optim::ComputeType::bf16>>();
            break;
        case ElementType::float16:
            add_received<Sixteen<optim::ComputeType::fp16>>();
            break;
    }
    added_ = true;
    if (gathers_) gather();
}

/// All pieces by one team of threads, however many they are.
template <typename Element>
void MpiReduction::add_received() {
    std::vector<Block> blocks;
    std::int64_t at = 0;
    for (const ReducedPiece& piece : pieces_) {
        const std::int64_t count = extent(piece, peers_.rank).count;
        // One rank's sum is what it has.
        const bool nothing_to_do = peers_.size == 1 && piece.into == nullptr;
        for (std::int64_t begin = 0; begin < count && !nothing_to_do; begin += block)
            blocks.push_back({&piece, begin, std::min(block, count - begin), at + begin});
        at += count;
    }
    if (blocks.empty()) return;
    const std::int64_t count = std::ssize(blocks);
#pragma omp parallel for schedule(static) if (count > blocks_of_a_thread)
    for (std::int64_t b = 0; b < count; ++b) add_block<Element>(blocks[static_cast<std::size_t>(b)]);
}

/// Ranks' terms in the order of ranks, each addition rounded to Sum, after what `into` holds if the piece adds to it;
/// without `into` in place of the own term.
template <typename Element>
void MpiReduction::add_block(const Block& which) {
    using Stored = typename Element::Stored;
    using Sum = typename Element::Sum;
    const ReducedPiece& piece = *which.piece;
    auto* const own = reinterpret_cast<Stored*>(extent(piece, peers_.rank).data) + which.begin;
    std::array<Sum, block> room;
    Sum* const sums = piece.into == nullptr ? room.data() : reinterpret_cast<Sum*>(piece.into) + which.begin;
    bool begun = piece.into != nullptr && piece.adds;
    for (int rank = 0; rank < peers_.size; ++rank) {
        const int distance = (rank + peers_.size - peers_.rank) % peers_.size;
        const Stored* const term = distance == 0 ? own : reinterpret_cast<const Stored*>(received(distance)) + which.at;
        if (std::exchange(begun, true)) {
            Element::add(term, sums, which.size);
        } else {
            Element::start(term, sums, which.size);
        }
    }
    if (piece.into == nullptr) Element::store(sums, own, which.size);
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
