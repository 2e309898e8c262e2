#include "dist/mpi_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "core/error.h"
#include "dist/mpi_operation.h"
#include "dist/mpi_reduction.h"

namespace strata::dist {
namespace {

/// `count` elements as one MPI element of extent `stride` elements: counts beyond an int, and gaps, need nothing else.
class PartType {
  public:
    PartType(MPI_Datatype element, std::int64_t element_bytes, std::int64_t count, std::int64_t stride,
             std::int64_t max_count) {
        MPI_Datatype block = MPI_DATATYPE_NULL;
        MPI_Datatype whole = MPI_DATATYPE_NULL;
        MPI_Type_contiguous(static_cast<int>(std::min(count, max_count)), element, &block);
        const std::int64_t blocks = count / max_count;
        const int lengths[2] = {static_cast<int>(blocks), static_cast<int>(count % max_count)};
        const MPI_Aint places[2] = {0, blocks * max_count * element_bytes};
        const MPI_Datatype types[2] = {block, element};
        MPI_Type_create_struct(2, lengths, places, types, &whole);
        MPI_Type_create_resized(whole, 0, stride * element_bytes, &type_);
        MPI_Type_commit(&type_);
        MPI_Type_free(&whole);
        MPI_Type_free(&block);
    }
    ~PartType() { MPI_Type_free(&type_); }
    PartType(const PartType&) = delete;
    PartType& operator=(const PartType&) = delete;
    MPI_Datatype get() const { return type_; }

  private:
    MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

std::byte* part_of(const PartedView& piece, int rank) {
    return static_cast<std::byte*>(piece.data) + rank * piece.stride * bytes_of(piece.type);
}

std::size_t part_bytes(const PartedView& piece) {
    return static_cast<std::size_t>(piece.count * bytes_of(piece.type));
}

/// Pieces packed rank by rank into one buffer for one message, and unpacked when the gather is done; others may go
/// beside them.
class PackedGather final : public MpiOperation {
  public:
    PackedGather(Speaker speaker, std::shared_ptr<ScratchPool> pool, std::span<const PartedView> pieces, int ranks)
        : MpiOperation(std::move(speaker), "all-gather"),
          pieces_(pieces.begin(), pieces.end()),
          ranks_(ranks),
          rank_bytes_(bytes_of_part(pieces)),
          scratch_(std::move(pool), rank_bytes_ * static_cast<std::size_t>(ranks)) {}
    ~PackedGather() override { settle(); }  // or the next operation would get a buffer that MPI still writes to
    PackedGather(const PackedGather&) = delete;
    PackedGather& operator=(const PackedGather&) = delete;

    std::size_t rank_bytes() const { return rank_bytes_; }

    /// The buffer of all ranks' parts, the own one filled in.
    std::byte* pack() {
        std::byte* at = scratch_.data() + static_cast<std::size_t>(speaker().rank) * rank_bytes_;
        for (const PartedView& piece : pieces_) {
            std::memcpy(at, part_of(piece, speaker().rank), part_bytes(piece));
            at += part_bytes(piece);
        }
        return scratch_.data();
    }

  protected:
    void finish() override {
        for (int rank = 0; rank < ranks_; ++rank) {
            if (rank == speaker().rank) continue;
            const std::byte* from = scratch_.data() + static_cast<std::size_t>(rank) * rank_bytes_;
            for (const PartedView& piece : pieces_) {
                std::memcpy(part_of(piece, rank), from, part_bytes(piece));
                from += part_bytes(piece);
            }
        }
    }

  private:
    static std::size_t bytes_of_part(std::span<const PartedView> pieces) {
        std::size_t bytes = 0;
        for (const PartedView& piece : pieces) bytes += part_bytes(piece);
        return bytes;
    }

    std::vector<PartedView> pieces_;
    int ranks_;
    std::size_t rank_bytes_;
    Scratch scratch_;
};

/// Several buffers packed into one for an all-reduce, and unpacked when it is done.
class PackedReduction final : public Operation {
  public:
    PackedReduction(std::shared_ptr<ScratchPool> pool, std::span<const BufferView> buffers)
        : buffers_(buffers.begin(), buffers.end()), scratch_(std::move(pool), bytes_of_all(buffers)) {
        std::byte* at = scratch_.data();
        for (const BufferView& buffer : buffers_)
            at = std::copy_n(static_cast<const std::byte*>(buffer.data), bytes_in(buffer), at);
    }
    std::byte* data() { return scratch_.data(); }
    void reduces(std::unique_ptr<Operation> reduction) { reduction_ = std::move(reduction); }
    void wait() override {
        reduction_->wait();
        const std::byte* at = scratch_.data();
        for (const BufferView& buffer : buffers_) {
            std::copy_n(at, bytes_in(buffer), static_cast<std::byte*>(buffer.data));
            at += bytes_in(buffer);
        }
    }
    void progress() override { reduction_->progress(); }
    bool ready() override { return reduction_->ready(); }

  private:
    static std::int64_t bytes_in(const BufferView& buffer) { return buffer.count * bytes_of(buffer.type); }
    static std::size_t bytes_of_all(std::span<const BufferView> buffers) {
        std::int64_t bytes = 0;
        for (const BufferView& buffer : buffers) bytes += bytes_in(buffer);
        return static_cast<std::size_t>(bytes);
    }

    std::vector<BufferView> buffers_;
    Scratch scratch_;
    std::unique_ptr<Operation> reduction_;  // goes before the memory that it works on
};

void require_reachable(Memory memory) {
    STRATA_CHECK(memory == Memory::host, "MPI reaches host memory only");
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm parent, std::int64_t max_count, Waiting waiting)
    : max_count_(max_count),
      waiting_(waiting),
      exceptions_(std::uncaught_exceptions()),
      scratch_(std::make_shared<ScratchPool>()) {
    STRATA_CHECK(max_count > 0 && max_count <= INT_MAX, "MPI calls of {} elements", max_count);
    char name[MPI_MAX_PROCESSOR_NAME] = "";
    int length = 0;
    MPI_Get_processor_name(name, &length);
    host_ = std::string(name, static_cast<std::size_t>(length));
    check(MPI_Comm_dup(parent, &comm_), "duplicating the communicator");
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    MPI_Comm local = MPI_COMM_NULL;
    check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local),
          "finding the ranks of this host");
    MPI_Comm_rank(local, &local_rank_);
    MPI_Comm_size(local, &local_size_);
    MPI_Comm_free(&local);
}

MpiCommunicator::~MpiCommunicator() {
    int over = 0;
    MPI_Finalized(&over);
    // Freeing is collective: while an exception passes, the other ranks may never come to it.
    if (over == 0 && std::uncaught_exceptions() == exceptions_) MPI_Comm_free(&comm_);
}

std::unique_ptr<Communicator> MpiCommunicator::duplicate() {
    return std::make_unique<MpiCommunicator>(comm_, max_count_, waiting_);
}

std::unique_ptr<Communicator> MpiCommunicator::do_split(int color) {
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color, rank_, &part), "splitting the communicator");
    auto made = std::make_unique<MpiCommunicator>(part, max_count_, waiting_);
    MPI_Comm_free(&part);
    return made;
}

void MpiCommunicator::check(int status, const char* operation) const {
    Speaker{rank_, host_}.check(status, operation);
}

void MpiCommunicator::meet() const {
    using namespace std::chrono_literals;
    if (waiting_ == Waiting::awake) return;
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ibarrier(comm_, &request), "barrier");
    std::chrono::microseconds pause = 50us;
    for (int here = 0; true; pause = std::min<std::chrono::microseconds>(2 * pause, 2ms)) {
        check(MPI_Test(&request, &here, MPI_STATUS_IGNORE), "barrier");
        if (here != 0) return;
        std::this_thread::sleep_for(pause);
    }
}

std::unique_ptr<Operation> MpiCommunicator::start_all_reduce_sum(std::span<const BufferView> buffers) {
    std::int64_t count = 0;
    for (const BufferView& buffer : buffers) {
        require_reachable(buffer.memory);
        count += buffer.count;
    }
    if (buffers.size() == 1) {
        return start_reduction_of_all(static_cast<std::byte*>(buffers.front().data), count, buffers.front().type);
    }
    auto packed = std::make_unique<PackedReduction>(scratch_, buffers);
    const ElementType type = buffers.empty() ? ElementType::float32 : buffers.front().type;
    packed->reduces(start_reduction_of_all(packed->data(), count, type));
    return packed;
}

std::unique_ptr<Operation> MpiCommunicator::start_reduction_of_all(std::byte* data, std::int64_t count,
                                                                   ElementType type) {
    const std::int64_t part = (count + size_ - 1) / size_;
    return start_reduction({{data, part, part, count}}, type, true);
}

std::unique_ptr<Operation> MpiCommunicator::start_all_gather(std::span<const PartedView> pieces) {
    for (const PartedView& piece : pieces) require_reachable(piece.memory);
    const Speaker speaker{rank_, host_};
    if (size_ == 1) return std::make_unique<MpiOperation>(speaker, "all-gather");
    // What goes as it lies, gaps and all, and what is packed into one message.
    std::vector<PartedView> lying, packed;
    for (const PartedView& piece : pieces) {
        const bool alone = travels_alone(pieces.size(), static_cast<std::int64_t>(part_bytes(piece)));
        (alone ? lying : packed).push_back(piece);
    }
    auto operation = std::make_unique<PackedGather>(speaker, scratch_, packed, size_);
    for (const PartedView& piece : lying) {
        if (piece.count == 0) continue;
        const PartType type(mpi_type_of(piece.type), bytes_of(piece.type), piece.count, piece.stride, max_count_);
        operation->add(start_gather_in_place(piece.data, type.get()));
    }
    const auto bytes = static_cast<std::int64_t>(operation->rank_bytes());
    if (bytes == 0) return operation;
    const PartType type(MPI_BYTE, 1, bytes, bytes, max_count_);
    operation->add(start_gather_in_place(operation->pack(), type.get()));
    return operation;
}

/// `part` is what one rank brings.
MPI_Request MpiCommunicator::start_gather_in_place(void* data, MPI_Datatype part) const {
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, 1, part, comm_, &request), "all-gather");
    return request;
}

std::unique_ptr<Operation> MpiCommunicator::start_reduce_scatter_sum(std::span<const SummedParts> pieces) {
    std::vector<ReducedPiece> reduced;
    for (const auto& [parts, into, adds] : pieces) {
        require_reachable(parts.memory);
        STRATA_CHECK(parts.type == pieces.front().parts.type, "pieces of two types in one reduce-scatter");
        reduced.push_back({static_cast<std::byte*>(parts.data), parts.count, parts.stride,
                           parts.stride * (size_ - 1) + parts.count, static_cast<std::byte*>(into), adds});
    }
    const ElementType type = pieces.empty() ? ElementType::float32 : pieces.front().parts.type;
    return start_reduction(std::move(reduced), type, false);
}

std::unique_ptr<Operation> MpiCommunicator::start_reduction(std::vector<ReducedPiece> pieces, ElementType type,
                                                            bool gathers) {
    auto reduction = std::make_unique<MpiReduction>(Speaker{rank_, host_}, scratch_,
                                                    MpiPeers{comm_, rank_, size_, max_count_, reductions_++},
                                                    std::move(pieces), type, gathers);
    reduction->start();
    return reduction;
}

void MpiCommunicator::do_all_reduce_sum(std::span<double> values) {
    meet();
    const auto step = static_cast<std::size_t>(max_count_);
    for (std::size_t begin = 0; begin < values.size(); begin += step) {
        const auto piece = values.subspan(begin, std::min(step, values.size() - begin));
        check(MPI_Allreduce(MPI_IN_PLACE, piece.data(), static_cast<int>(piece.size()), MPI_DOUBLE, MPI_SUM, comm_),
              "all-reduce");
    }
}

std::int64_t MpiCommunicator::do_all_reduce_max(std::int64_t value) {
    meet();
    check(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, comm_), "all-reduce");
    return value;
}

void MpiCommunicator::do_broadcast(std::span<std::byte> bytes, int root) {
    meet();
    const auto step = static_cast<std::size_t>(max_count_);
    for (std::size_t begin = 0; begin < bytes.size(); begin += step) {
        const auto piece = bytes.subspan(begin, std::min(step, bytes.size() - begin));
        check(MPI_Bcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, comm_), "broadcast");
    }
}

std::vector<std::string> MpiCommunicator::do_all_gather_bytes(const std::string& own) {
    meet();
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(size_));
    const auto own_size = static_cast<std::int64_t>(own.size());
    check(MPI_Allgather(&own_size, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, comm_), "all-gather");
    std::int64_t total = 0;
    for (const std::int64_t size : sizes) total += size;
    return total <= max_count_ ? gather_short(own, sizes) : gather_long(own, sizes);
}

std::vector<std::string> MpiCommunicator::gather_short(const std::string& own,
                                                       std::span<const std::int64_t> sizes) const {
    std::vector<int> counts;
    std::vector<int> places;
    int total = 0;
    for (const std::int64_t size : sizes) {
        counts.push_back(static_cast<int>(size));
        places.push_back(total);
        total += counts.back();
    }
    std::string joined(static_cast<std::size_t>(total), '\0');
    check(MPI_Allgatherv(own.data(), static_cast<int>(own.size()), MPI_BYTE, joined.data(), counts.data(),
                         places.data(), MPI_BYTE, comm_),
          "all-gather");
    std::vector<std::string> all;
    for (std::size_t rank = 0; rank < counts.size(); ++rank) {
        all.push_back(joined.substr(static_cast<std::size_t>(places[rank]), static_cast<std::size_t>(counts[rank])));
    }
    return all;
}

std::vector<std::string> MpiCommunicator::gather_long(const std::string& own, std::span<const std::int64_t> sizes) {
    std::vector<std::string> all;
    for (int rank = 0; rank < size_; ++rank) {
        std::string& text = all.emplace_back(rank == rank_ ? own : std::string());
        text.resize(static_cast<std::size_t>(sizes[static_cast<std::size_t>(rank)]));
        do_broadcast(std::as_writable_bytes(std::span(text)), rank);
    }
    return all;
}

void MpiCommunicator::do_barrier() {
    meet();
    check(MPI_Barrier(comm_), "barrier");
}

}  // namespace strata::dist
