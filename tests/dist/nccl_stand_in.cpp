#include "nccl_stand_in.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dist/parts_kernel.h"
#include "tests/support/cuda_stand_in.h"

using strata::dist::testing::nccl_counts;
using strata::dist::testing::nccl_faults;

/// A call of a group; run between ranks when the stream comes to it.
using Call = std::function<void(std::vector<MPI_Request>&)>;

struct ncclComm {
    MPI_Comm mpi = MPI_COMM_NULL;
    int rank = 0;
    int size = 1;
    std::mutex mutex;
    int polls_to_go = 0;
    bool connected = false;
    std::vector<Call> noted;
    cudaStream_t stream = nullptr;
    bool to_be_enqueued = false;
    std::atomic<bool> aborted = false;
};

namespace {

int group_depth = 0;
ncclComm* group_comm = nullptr;

std::size_t bytes_of(ncclDataType_t type) {
    switch (type) {
        case ncclUint8:
            return 1;
        case ncclFloat16:
        case ncclBfloat16:
            return 2;
        case ncclFloat32:
            return 4;
        case ncclFloat64:
            return 8;
        default:
            std::abort();
    }
}

template <typename Float>
void sum_backwards(const std::byte* terms, std::byte* sum, std::size_t count, int ranks) {
    const auto* const from = reinterpret_cast<const Float*>(terms);
    auto* const to = reinterpret_cast<Float*>(sum);
    for (std::size_t i = 0; i < count; ++i) {
        Float total = from[static_cast<std::size_t>(ranks - 1) * count + i];
        for (int r = ranks - 2; r >= 0; --r)
            total = static_cast<Float>(total + from[static_cast<std::size_t>(r) * count + i]);
        to[i] = total;
    }
}

void sum(const std::vector<std::byte>& terms, void* to, std::size_t count, int ranks, ncclDataType_t type) {
    auto* const out = static_cast<std::byte*>(to);
    if (type == ncclFloat32) return sum_backwards<float>(terms.data(), out, count, ranks);
    if (type == ncclFloat64) return sum_backwards<double>(terms.data(), out, count, ranks);
    if (type == ncclBfloat16) return sum_backwards<c10::BFloat16>(terms.data(), out, count, ranks);
    if (type == ncclFloat16) return sum_backwards<c10::Half>(terms.data(), out, count, ranks);
    std::abort();
}

ncclResult_t note(ncclComm* comm, cudaStream_t stream, Call call) {
    if (group_depth == 0 || comm->aborted) return ncclInvalidUsage;
    group_comm = comm;
    comm->stream = stream;
    comm->noted.push_back(std::move(call));
    ++nccl_counts().calls;
    return ncclInProgress;  // of a communicator that does not block
}

ncclResult_t all_reduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t,
                        ncclComm_t comm, cudaStream_t stream) {
    return note(comm, stream, [=](std::vector<MPI_Request>&) {
        const std::size_t bytes = count * bytes_of(type);
        std::vector<std::byte> terms(bytes * static_cast<std::size_t>(comm->size));
        PMPI_Allgather(from, static_cast<int>(bytes), MPI_BYTE, terms.data(), static_cast<int>(bytes), MPI_BYTE,
                       comm->mpi);
        sum(terms, to, count, comm->size, type);
    });
}

ncclResult_t all_gather(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                        cudaStream_t stream) {
    return note(comm, stream, [=](std::vector<MPI_Request>&) {
        const auto bytes = static_cast<int>(count * bytes_of(type));
        std::vector<std::byte> own(static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + bytes);
        PMPI_Allgather(own.data(), bytes, MPI_BYTE, to, bytes, MPI_BYTE, comm->mpi);
    });
}

ncclResult_t reduce_scatter(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t,
                            ncclComm_t comm, cudaStream_t stream) {
    return note(comm, stream, [=](std::vector<MPI_Request>&) {
        const std::size_t bytes = count * bytes_of(type);
        std::vector<std::byte> terms(bytes * static_cast<std::size_t>(comm->size));
        PMPI_Alltoall(from, static_cast<int>(bytes), MPI_BYTE, terms.data(), static_cast<int>(bytes), MPI_BYTE,
                      comm->mpi);
        sum(terms, to, count, comm->size, type);
    });
}

ncclResult_t send(const void* from, std::size_t count, ncclDataType_t type, int to, ncclComm_t comm,
                  cudaStream_t stream) {
    return note(comm, stream, [=](std::vector<MPI_Request>& requests) {
        requests.push_back(MPI_REQUEST_NULL);
        PMPI_Isend(from, static_cast<int>(count * bytes_of(type)), MPI_BYTE, to, 0, comm->mpi, &requests.back());
    });
}

ncclResult_t recv(void* to, std::size_t count, ncclDataType_t type, int from, ncclComm_t comm, cudaStream_t stream) {
    return note(comm, stream, [=](std::vector<MPI_Request>& requests) {
        requests.push_back(MPI_REQUEST_NULL);
        PMPI_Irecv(to, static_cast<int>(count * bytes_of(type)), MPI_BYTE, from, 0, comm->mpi, &requests.back());
    });
}

void run_group(ncclComm* comm, const std::vector<Call>& calls) {
    while (nccl_faults().never_ends && !comm->aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (comm->aborted) return;
    std::vector<MPI_Request> requests;
    for (const Call& call : calls) call(requests);
    for (MPI_Request& request : requests) PMPI_Wait(&request, MPI_STATUS_IGNORE);
}

constexpr const char* id_text = "the stand-in's, of rank ";

int world_rank() {
    int rank = 0;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

ncclResult_t get_unique_id(ncclUniqueId* id) {
    std::strcpy(id->internal, (id_text + std::to_string(world_rank())).c_str());
    return ncclSuccess;
}

ncclResult_t init(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
    const std::size_t text = std::strlen(id_text);
    if (config->blocking != 0 || std::strncmp(id.internal, id_text, text) != 0) return ncclInvalidArgument;
    *comm = new ncclComm;
    // All ranks of the world come here together, for communicators of which no two have an id from one rank.
    PMPI_Comm_split(MPI_COMM_WORLD, std::atoi(id.internal + text), rank, &(*comm)->mpi);
    int members = 0;
    PMPI_Comm_size((*comm)->mpi, &members);
    if (members != size) return ncclInvalidArgument;
    (*comm)->rank = rank;
    (*comm)->size = size;
    (*comm)->polls_to_go = 3;
    return ncclInProgress;
}

ncclResult_t get_async_error(ncclComm_t comm, ncclResult_t* state) {
    const std::lock_guard lock(comm->mutex);
    if (comm->aborted) std::abort();  // its memory would be gone
    *state = ncclSuccess;
    if (nccl_faults().never_connects) {
        *state = ncclInProgress;
    } else if (nccl_faults().error_of_state != ncclSuccess) {
        *state = nccl_faults().error_of_state;
    } else if (comm->polls_to_go > 0 && --comm->polls_to_go > 0) {
        *state = ncclInProgress;
    } else if (comm->to_be_enqueued) {
        comm->to_be_enqueued = false;
        strata::testing_support::enqueue(comm->stream,
                                         [comm, calls = std::exchange(comm->noted, {})] { run_group(comm, calls); });
    }
    return ncclSuccess;
}

ncclResult_t group_start() {
    ++group_depth;
    return ncclSuccess;
}

ncclResult_t group_end() {
    --group_depth;
    ++nccl_counts().groups;
    ncclComm* const comm = std::exchange(group_comm, nullptr);
    if (comm == nullptr) return ncclSuccess;
    if (nccl_faults().error_of_group != ncclSuccess) {
        comm->noted.clear();
        return nccl_faults().error_of_group;
    }
    const std::lock_guard lock(comm->mutex);
    comm->to_be_enqueued = true;
    comm->polls_to_go = 2;
    return ncclInProgress;
}

ncclResult_t finalize(ncclComm_t comm) {
    comm->polls_to_go = 2;
    return ncclInProgress;
}

ncclResult_t destroy(ncclComm_t comm) {
    ++nccl_counts().destroyed;
    PMPI_Comm_free(&comm->mpi);
    delete comm;
    return ncclSuccess;
}

/// The memory stays: work in a stream looks at it.
ncclResult_t abort_comm(ncclComm_t comm) {
    ++nccl_counts().aborts;
    comm->aborted = true;
    return ncclSuccess;
}

ncclResult_t get_version(int* version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char* error_string(ncclResult_t result) {
    return result == ncclRemoteError ? "remote process exited or there was a network error" : "some error";
}

const char* last_error(ncclComm_t) {
    return "the stand-in's last words";
}

template <typename Word>
strata::testing_support::DeviceWork copy_twin(void** arguments, dim3 grid, dim3 block) {
    using namespace strata::dist;
    const PieceTable table = *static_cast<const PieceTable*>(arguments[0]);
    const PartsCopy how = *static_cast<const PartsCopy*>(arguments[1]);
    std::byte* const packed = *static_cast<std::byte**>(arguments[2]);
    const std::int64_t threads = std::int64_t{grid.x} * block.x;
    return [=] {
        for (unsigned rank = 0; rank < grid.y; ++rank) {
            for (std::int64_t thread = 0; thread < threads; ++thread)
                copy_body<Word>(table, how, packed, static_cast<int>(rank), thread, threads);
        }
    };
}

template <typename Float, typename Sum>
strata::testing_support::DeviceWork sum_twin(void** arguments, dim3 grid, dim3 block) {
    using namespace strata::dist;
    const PieceTable table = *static_cast<const PieceTable*>(arguments[0]);
    const SumTerms terms = *static_cast<const SumTerms*>(arguments[1]);
    const std::int64_t threads = std::int64_t{grid.x} * block.x;
    return [=] {
        for (std::int64_t thread = 0; thread < threads; ++thread) sum_body<Float, Sum>(table, terms, thread, threads);
    };
}

}  // namespace

namespace strata::dist::testing {

NcclFaults& nccl_faults() {
    static NcclFaults faults;
    return faults;
}

NcclCounts& nccl_counts() {
    static NcclCounts counts;
    return counts;
}

std::shared_ptr<const NcclLibrary> nccl_stand_in() {
    auto nccl = std::make_shared<NcclLibrary>();
    nccl->get_version = get_version;
    nccl->get_unique_id = get_unique_id;
    nccl->comm_init_rank_config = init;
    nccl->comm_finalize = finalize;
    nccl->comm_destroy = destroy;
    nccl->comm_abort = abort_comm;
    nccl->comm_get_async_error = get_async_error;
    nccl->get_error_string = error_string;
    nccl->get_last_error = last_error;
    nccl->group_start = group_start;
    nccl->group_end = group_end;
    nccl->all_reduce = all_reduce;
    nccl->all_gather = all_gather;
    nccl->reduce_scatter = reduce_scatter;
    nccl->send = send;
    nccl->recv = recv;
    return nccl;
}

void add_parts_twins() {
    using testing_support::add_kernel_twin;
    add_kernel_twin("parts_copy_kernel<unsigned short>", copy_twin<std::uint16_t>);
    add_kernel_twin("parts_copy_kernel<unsigned int>", copy_twin<std::uint32_t>);
    add_kernel_twin("parts_copy_kernel<unsigned long>", copy_twin<std::uint64_t>);
    add_kernel_twin("parts_sum_kernel<float, float>", sum_twin<float, float>);
    add_kernel_twin("parts_sum_kernel<double, double>", sum_twin<double, double>);
    add_kernel_twin("parts_sum_kernel<c10::BFloat16, float>", sum_twin<c10::BFloat16, float>);
    add_kernel_twin("parts_sum_kernel<c10::Half, float>", sum_twin<c10::Half, float>);
}

}  // namespace strata::dist::testing
