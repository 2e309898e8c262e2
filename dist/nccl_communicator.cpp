#include "dist/nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/round_up.h"
#include "dist/agreement.h"
#include "dist/parts_cuda.h"

namespace strata::dist {
namespace {

ncclDataType_t nccl_type_of(ElementType type) {
    switch (type) {
        case ElementType::float32:
            return ncclFloat32;
        case ElementType::float64:
            return ncclFloat64;
        case ElementType::bfloat16:
            return ncclBfloat16;
        case ElementType::float16:
            return ncclFloat16;
    }
    STRATA_CHECK(false, "unknown element type");
}

ncclUniqueId agree_on_id(Communicator& small, const NcclLibrary& nccl) {
    ncclUniqueId id{};
    collectively(small, "starting NCCL", [&] {
        if (small.rank() != 0) return;
        const ncclResult_t result = nccl.get_unique_id(&id);
        if (result != ncclSuccess) system_error("NCCL cannot start: {}", nccl.get_error_string(result));
    });
    small.broadcast(std::as_writable_bytes(std::span(&id, 1)));
    return id;
}

/// In the stream, and ordered before the compute stream goes on.
class NcclOperation final : public Operation {
  public:
    NcclOperation(std::shared_ptr<NcclLink> link, std::shared_ptr<optim::CudaEvent> end, CUstream_st* compute)
        : link_(std::move(link)), end_(std::move(end)), compute_(compute) {}
    void wait() override {
        link_->check();
        end_->order(compute_);
    }

  private:
    std::shared_ptr<NcclLink> link_;
    std::shared_ptr<optim::CudaEvent> end_;
    CUstream_st* compute_;
};

class NothingToDo final : public Operation {
    void wait() override {}
};

constexpr std::int64_t alignment = 16;  // bytes: NCCL's fast path and vector loads

}  // namespace

/// Pieces as one packed buffer.
struct NcclCommunicator::Packing {
    std::vector<PieceTable> tables;
    ElementType type = ElementType::float32;
    std::int64_t elements = 0;     ///< of one rank's packed part
    std::int64_t part_stride = 0;  ///< elements, a multiple of `alignment`

    Packing(std::span<const SummedParts> pieces, int own) {
        for (const auto& [parts, into, adds] : pieces) {
            STRATA_CHECK(parts.memory == Memory::cuda, "NCCL reaches device memory only");
            STRATA_CHECK(parts.type == pieces.front().parts.type, "pieces of two types in one operation");
            if (parts.count == 0) continue;
            if (tables.empty() || tables.back().count == PieceTable::capacity) {
                tables.emplace_back();
                tables.back().own = own;
                tables.back().begin = elements;
            }
            PieceTable& table = tables.back();
            table.pieces[table.count++] = {static_cast<std::byte*>(parts.data), static_cast<std::byte*>(into),
                                           parts.stride, elements, adds};
            table.end = elements += parts.count;
        }
        if (!pieces.empty()) type = pieces.front().parts.type;
        part_stride = round_up(elements, alignment / bytes_of(type));
        for (PieceTable& table : tables) table.part_stride = part_stride;
    }

    std::int64_t part_bytes() const { return part_stride * bytes_of(type); }
    bool is_one_run() const { return tables.size() == 1 && tables.front().count == 1; }
    /// One piece without gaps and with whole quads: it can travel as it lies.
    bool is_packed_already() const {
        return is_one_run() && tables.front().pieces[0].stride == elements && part_stride == elements;
    }
    std::byte* first_data() const { return tables.front().pieces[0].data; }
    void copy(PartsCopy how, std::byte* packed, int ranks, CUstream_st* stream) const {
        for (const PieceTable& table : tables) {
            copy_parts_cuda(table, how, packed, ranks, static_cast<int>(bytes_of(type)), stream);
        }
    }
    void sum(const SumTerms& terms, CUstream_st* stream) const {
        for (const PieceTable& table : tables) sum_parts_cuda(table, terms, type, stream);
    }
};

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> small, std::shared_ptr<const NcclLibrary> nccl,
                                   NcclOptions options)
    : Communicator(small->shared_activity()), small_(std::move(small)), nccl_(std::move(nccl)), options_(options) {
    rank_ = small_->rank();
    size_ = small_->size();
    local_rank_ = small_->local_rank();
    local_size_ = small_->local_size();
    host_ = small_->host();
    optim::use_device(options_.device);
    int version = 0;
    nccl_->get_version(&version);
    require_equal_everywhere(*small_, "the version of NCCL", std::to_string(version));
    link_ =
        std::make_shared<NcclLink>(nccl_, agree_on_id(*small_, *nccl_), NcclPlace{rank_, size_, host_, options_.device},
                                   shared_activity(), options_.limits);
}

std::unique_ptr<Communicator> NcclCommunicator::duplicate() {
    return std::make_unique<NcclCommunicator>(small_->duplicate(), nccl_, options_);
}

std::unique_ptr<Communicator> NcclCommunicator::do_split(int color) {
    return std::make_unique<NcclCommunicator>(small_->split(color), nccl_, options_);
}

/// What follows on the own stream comes after what the compute stream holds.
void NcclCommunicator::begin() {
    link_->check();
    optim::use_device(options_.device);  // autograd calls from a thread of its own
    optim::CudaEvent ready;
    ready.record(options_.compute_stream);
    ready.order(stream_.get());
}

std::unique_ptr<Operation> NcclCommunicator::end(const char* name) {
    return std::make_unique<NcclOperation>(link_, link_->watch(name, stream_.get()), options_.compute_stream);
}

std::unique_ptr<Operation> NcclCommunicator::start_all_reduce_sum(std::span<const BufferView> buffers) {
    constexpr const char* name = "all-reduce";
    std::vector<SummedParts> whole;  // as parts of one rank
    for (const auto& [data, count, type, memory] : buffers)
        whole.push_back({{data, count, count, type, memory}, nullptr});
    const Packing packing(whole, 0);
    if (packing.elements == 0) return std::make_unique<NothingToDo>();
    begin();
    const auto unpack = [&](std::byte* packed) { packing.sum({packed, 1, -1}, stream_.get()); };
    if (!options_.ordered_sums) {
        const bool as_it_lies = packing.is_one_run();
        std::byte* const packed =
            as_it_lies ? packing.first_data() : scratch_.at_least(static_cast<std::size_t>(packing.part_bytes()));
        if (!as_it_lies) packing.copy(PartsCopy::own_into_packed, packed, 1, stream_.get());
        link_->group(name, [&](const NcclLibrary& nccl, ncclComm_t comm) {
            return nccl.all_reduce(packed, packed, static_cast<std::size_t>(packing.elements),
                                   nccl_type_of(packing.type), ncclSum, comm, stream_.get());
        });
        if (!as_it_lies) unpack(packed);
        return end(name);
    }
    // As equal parts of a copy, since the buffers' end need not be a part's.
    const std::int64_t part = round_up((packing.elements + size_ - 1) / size_, alignment / bytes_of(packing.type));
    const auto bytes = static_cast<std::size_t>(part * size_ * bytes_of(packing.type));
    std::byte* const copy = scratch_.at_least(2 * bytes);
    packing.copy(PartsCopy::own_into_packed, copy, 1, stream_.get());
    const SummedParts equal_parts{{copy, part, part, packing.type, Memory::cuda}, nullptr};
    const Packing equal(std::span(&equal_parts, 1), rank_);
    exchange_packed(name, equal, copy, copy + bytes);
    equal.sum({copy + bytes, size_, rank_}, stream_.get());
    gather_packed(name, copy, equal.part_bytes());
    unpack(copy);
    return end(name);
}

std::unique_ptr<Operation> NcclCommunicator::start_all_gather(std::span<const PartedView> pieces) {
    constexpr const char* name = "all-gather";
    std::vector<SummedParts> parts;
    for (const PartedView& piece : pieces) parts.push_back({piece, nullptr});
    const Packing packing(parts, rank_);
    if (packing.elements == 0) return std::make_unique<NothingToDo>();
    begin();
    if (packing.is_packed_already()) {
        gather_packed(name, packing.first_data(), packing.part_bytes());
        return end(name);
    }
    std::byte* const packed = scratch_.at_least(static_cast<std::size_t>(packing.part_bytes() * size_));
    packing.copy(PartsCopy::own_into_packed, packed, size_, stream_.get());
    gather_packed(name, packed, packing.part_bytes());
    packing.copy(PartsCopy::others_from_packed, packed, size_, stream_.get());
    return end(name);
}

std::unique_ptr<Operation> NcclCommunicator::start_reduce_scatter_sum(std::span<const SummedParts> pieces) {
    constexpr const char* name = "reduce-scatter";
    const Packing packing(pieces, rank_);
    if (packing.elements == 0) return std::make_unique<NothingToDo>();
    begin();
    const auto bytes = static_cast<std::size_t>(packing.part_bytes() * size_);
    const bool as_it_lies = packing.is_packed_already();
    std::byte* const scratch = scratch_.at_least(bytes * ((as_it_lies ? 0 : 1) + (options_.ordered_sums ? 1 : 0)));
    std::byte* const packed = as_it_lies ? packing.first_data() : scratch;
    if (!as_it_lies) packing.copy(PartsCopy::all_into_packed, packed, size_, stream_.get());
    if (options_.ordered_sums) {
        std::byte* const received = as_it_lies ? scratch : scratch + bytes;
        exchange_packed(name, packing, packed, received);
        packing.sum({received, size_, rank_}, stream_.get());
    } else {
        add_up(name, packing, packed);
    }
    return end(name);
}

/// Every rank's part of a packed buffer to all.
void NcclCommunicator::gather_packed(const char* name, std::byte* packed, std::int64_t part_bytes) {
    link_->group(name, [&](const NcclLibrary& nccl, ncclComm_t comm) {
        return nccl.all_gather(packed + rank_ * part_bytes, packed, static_cast<std::size_t>(part_bytes), ncclUint8,
                               comm, stream_.get());
    });
}

/// Rank r's part of `packed` to rank r, and what rank r sends of this rank's to the r-th place of `received`.
void NcclCommunicator::exchange_packed(const char* name, const Packing& packing, std::byte* packed,
                                       std::byte* received) {
    if (size_ == 1) return;
    const std::int64_t bytes = packing.part_bytes();
    link_->group(name, [&](const NcclLibrary& nccl, ncclComm_t comm) {
        for (int distance = 1; distance < size_; ++distance) {
            const int to = (rank_ + distance) % size_;
            const int from = (rank_ + size_ - distance) % size_;
            const auto count = static_cast<std::size_t>(bytes);
            for (const ncclResult_t result :
                 {nccl.send(packed + to * bytes, count, ncclUint8, to, comm, stream_.get()),
                  nccl.recv(received + from * bytes, count, ncclUint8, from, comm, stream_.get())}) {
                if (result != ncclSuccess && result != ncclInProgress) return result;
            }
        }
        return ncclSuccess;
    });
}

/// NCCL's sum, into the own part of `packed` and from there to where it belongs.
void NcclCommunicator::add_up(const char* name, const Packing& packing, std::byte* packed) {
    std::byte* const own = packed + rank_ * packing.part_bytes();
    link_->group(name, [&](const NcclLibrary& nccl, ncclComm_t comm) {
        return nccl.reduce_scatter(packed, own, static_cast<std::size_t>(packing.part_stride),
                                   nccl_type_of(packing.type), ncclSum, comm, stream_.get());
    });
    const bool in_place = packing.is_packed_already() && packing.tables.front().pieces[0].into == nullptr;
    if (!in_place) packing.sum({own, 1, -1}, stream_.get());
}

void NcclCommunicator::do_all_reduce_sum(std::span<double> values) {
    link_->check();
    small_->all_reduce_sum(values);
}

std::int64_t NcclCommunicator::do_all_reduce_max(std::int64_t value) {
    link_->check();
    return small_->all_reduce_max(value);
}

void NcclCommunicator::do_broadcast(std::span<std::byte> bytes, int root) {
    link_->check();
    small_->broadcast(bytes, root);
}

std::vector<std::string> NcclCommunicator::do_all_gather_bytes(const std::string& own) {
    link_->check();
    return small_->all_gather_bytes(own);
}

void NcclCommunicator::do_barrier() {
    link_->check();
    small_->barrier();
}

}  // namespace strata::dist
