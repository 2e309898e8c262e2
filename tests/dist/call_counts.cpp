#include "tests/dist/call_counts.h"

#include <dlfcn.h>
#include <mpi.h>

#include <atomic>

namespace {

std::atomic<std::int64_t> messages, collectives, waits, parallel_regions;

}  // namespace

strata::dist::testing::CallCounts strata::dist::testing::call_counts() {
    return {messages, collectives, waits, parallel_regions};
}

extern "C" {

int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
    ++messages;
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Irecv(void* data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request* request) {
    ++messages;
    return PMPI_Irecv(data, count, type, from, tag, comm, request);
}

int MPI_Iallgather(const void* from, int from_count, MPI_Datatype from_type, void* to, int to_count,
                   MPI_Datatype to_type, MPI_Comm comm, MPI_Request* request) {
    ++collectives;
    return PMPI_Iallgather(from, from_count, from_type, to, to_count, to_type, comm, request);
}

int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm comm) {
    ++collectives;
    ++waits;
    return PMPI_Allreduce(from, to, count, type, operation, comm);
}

int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
    ++collectives;
    ++waits;
    return PMPI_Bcast(data, count, type, root, comm);
}

int MPI_Barrier(MPI_Comm comm) {
    ++collectives;
    ++waits;
    return PMPI_Barrier(comm);
}

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
    ++waits;
    return PMPI_Wait(request, status);
}

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
    using Start = void (*)(void (*)(void*), void*, unsigned, unsigned);
    static const auto start = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "GOMP_parallel"));
    ++parallel_regions;
    start(body, data, threads, flags);
}

}  // extern "C"
