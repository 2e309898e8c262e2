// One job at a time beside training: in a thread, with a communicator of its own.
//
// All ranks start the same jobs in the same order. The thread sleeps while it waits for other ranks, since each has but
// its cores to train on. MPI must allow threads to talk at the same time (threads_may_communicate()).
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <thread>

#include "dist/mpi_communicator.h"

namespace strata::dist {

class BackgroundTask {
  public:
    using Job = std::function<void(MpiCommunicator&)>;

    /// Collective over the parent's ranks.
    explicit BackgroundTask(const MpiCommunicator& parent);
    /// Waits for a job under way, whatever becomes of it.
    ~BackgroundTask();
    BackgroundTask(const BackgroundTask&) = delete;
    BackgroundTask& operator=(const BackgroundTask&) = delete;

    /// The job before must have been finished.
    void start(Job job);

    /// Between start and finish.
    bool started() const { return thread_.joinable(); }

    /// Whether finish() would return at once. On one rank this may be true before it is on another.
    bool done() const { return done_; }

    /// Waits for the job and throws what it threw.
    void finish();

  private:
    MpiCommunicator communicator_;
    std::thread thread_;
    std::atomic<bool> done_{false};
    std::exception_ptr error_;  // the thread's until it is joined
};

}  // namespace strata::dist
