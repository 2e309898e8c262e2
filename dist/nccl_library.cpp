#include "dist/nccl_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace strata::dist {
namespace {

constexpr const char* library_name = "libnccl.so.2";

/// Never closed: other libraries may use it, and NCCL's own threads outlive its communicators.
void* open_library() {
    if (void* library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL)) return library;
    const std::string trouble = dlerror();
    const std::string beside = std::string(STRATA_NCCL_LIBRARY_DIR) + "/" + library_name;
    if (void* library = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    system_error(
        "NCCL cannot be loaded, which training on GPUs needs: {}; {}. Install it (launch/setup does), or train "
        "with --device cpu",
        trouble, dlerror());
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) system_error("{} has no {}: it is too old", library_name, name);
}

std::string version_text(int code) {
    return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

}  // namespace

std::shared_ptr<const NcclLibrary> load_nccl() {
    void* const library = open_library();
    auto nccl = std::make_shared<NcclLibrary>();
    find(library, "ncclGetVersion", nccl->get_version);
    int version = 0;
    nccl->get_version(&version);
    if (version < NCCL_VERSION_CODE) {
        system_error("{} is version {}, but strata was built with {}'s headers", library_name, version_text(version),
                     version_text(NCCL_VERSION_CODE));
    }
    find(library, "ncclGetUniqueId", nccl->get_unique_id);
    find(library, "ncclCommInitRankConfig", nccl->comm_init_rank_config);
    find(library, "ncclCommFinalize", nccl->comm_finalize);
    find(library, "ncclCommDestroy", nccl->comm_destroy);
    find(library, "ncclCommAbort", nccl->comm_abort);
    find(library, "ncclCommGetAsyncError", nccl->comm_get_async_error);
    find(library, "ncclGetErrorString", nccl->get_error_string);
    find(library, "ncclGetLastError", nccl->get_last_error);
    find(library, "ncclGroupStart", nccl->group_start);
    find(library, "ncclGroupEnd", nccl->group_end);
    find(library, "ncclAllReduce", nccl->all_reduce);
    find(library, "ncclAllGather", nccl->all_gather);
    find(library, "ncclReduceScatter", nccl->reduce_scatter);
    find(library, "ncclSend", nccl->send);
    find(library, "ncclRecv", nccl->recv);
    return nccl;
}

}  // namespace strata::dist
