// One NCCL communicator's life: made without blocking, watched, aborted when it fails.
//
// NCCL works on its own: a call returns at once, and what becomes of it shows in the communicator's error state and on
// the stream. So a thread looks at both, four times a second. An error of NCCL's, or an operation that is not done
// within `wait`, aborts the communicator, which ends its kernels and so frees a host that waits for its stream; from
// then on check(), which every operation begins and ends with, throws what happened: rank, host, what the rank was
// doing, the operation and NCCL's words.
#pragma once

#include <nccl.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dist/activity.h"
#include "dist/nccl_library.h"
#include "optim/cuda_handles.h"

namespace strata::dist {

struct NcclPlace {
    int rank = 0;
    int size = 1;
    std::string host;
    int device = 0;
};

struct NcclLimits {
    std::chrono::milliseconds wait{1'800'000};
    std::chrono::milliseconds look{250};  ///< how often the thread looks
};

class NcclLink {
  public:
    /// Collective. Returns when NCCL has connected the ranks. `activity` is told of waits.
    NcclLink(std::shared_ptr<const NcclLibrary> nccl, const ncclUniqueId& id, NcclPlace place,
             std::shared_ptr<Activity> activity, NcclLimits limits);
    /// Ends the connection in good order, or, while an exception passes, at once.
    ~NcclLink();
    NcclLink(const NcclLink&) = delete;
    NcclLink& operator=(const NcclLink&) = delete;

    /// Throws SystemError if the communicator has failed.
    void check() const;

    using Calls = std::function<ncclResult_t(const NcclLibrary&, ncclComm_t)>;

    /// Makes `calls` as one group. On return all of it is in the calls' stream. `name` is a literal.
    void group(const char* name, const Calls& calls);

    /// The point after all that `stream` holds: watched, as the end of `name`; while the stream is captured, a point in
    /// the graph, which nobody can watch.
    std::shared_ptr<optim::CudaEvent> watch(const char* name, CUstream_st* stream);

  private:
    using Clock = std::chrono::steady_clock;
    struct Watched {
        std::shared_ptr<optim::CudaEvent> end;
        const char* name;
        Clock::time_point since;
    };

    void settle(const char* name, ncclResult_t result);
    ncclResult_t state();
    void fail(const char* name, const std::string& trouble);
    std::string words_of(ncclResult_t result) const;
    void look();
    void run();

    std::shared_ptr<const NcclLibrary> nccl_;
    NcclPlace place_;
    std::shared_ptr<Activity> activity_;
    NcclLimits limits_;
    int exceptions_;
    ncclComm_t comm_ = nullptr;  // null once aborted
    mutable std::mutex mutex_;   // of all below, and of calls that take comm_
    std::condition_variable wake_;
    std::string failure_;
    std::deque<Watched> watched_;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace strata::dist
