// NCCL's entry points, found when a GPU is to be used and not before: the library is two hundred megabytes, and a
// program that trains on the CPU, or on a machine without NCCL, starts without it.
#pragma once

#include <nccl.h>

#include <memory>

namespace strata::dist {

struct NcclLibrary {
    decltype(&ncclGetVersion) get_version = nullptr;
    decltype(&ncclGetUniqueId) get_unique_id = nullptr;
    decltype(&ncclCommInitRankConfig) comm_init_rank_config = nullptr;
    decltype(&ncclCommFinalize) comm_finalize = nullptr;
    decltype(&ncclCommDestroy) comm_destroy = nullptr;
    decltype(&ncclCommAbort) comm_abort = nullptr;
    decltype(&ncclCommGetAsyncError) comm_get_async_error = nullptr;
    decltype(&ncclGetErrorString) get_error_string = nullptr;
    decltype(&ncclGetLastError) get_last_error = nullptr;
    decltype(&ncclGroupStart) group_start = nullptr;
    decltype(&ncclGroupEnd) group_end = nullptr;
    decltype(&ncclAllReduce) all_reduce = nullptr;
    decltype(&ncclAllGather) all_gather = nullptr;
    decltype(&ncclReduceScatter) reduce_scatter = nullptr;
    decltype(&ncclSend) send = nullptr;
    decltype(&ncclRecv) recv = nullptr;
};

/// Loads libnccl.so.2: one that is loaded already (LibTorch's), else the one found at build time, else the system's.
/// Throws SystemError when there is none, or one older than the headers Strata was built with.
std::shared_ptr<const NcclLibrary> load_nccl();

}  // namespace strata::dist
