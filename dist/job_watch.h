// The bounded end: a rank that dies, is stopped or cannot be reached ends the whole job in a known time, with one
// message that names the rank, its host and what it was doing, whatever the other ranks wait for meanwhile.
//
// A thread of its own in every rank tells the next rank, four times a second, that it lives and what the rank does
// (activity.h), and listens to the rank before it. So neither a long evaluation nor a save that others wait for trips
// it, and the collectives stay as fast as they are: nobody polls. What ends a job:
//   dead         the connection to a rank closes without a farewell: at once
//   silent       a rank is not heard of for `silence`: stopped, or its host is off or cut off
//   stuck        a rank lives but does not come to an operation that another one has waited in for `wait`
//   not meeting  the ranks do not get to talk at all within `silence` of finding one another
// Each rank is listened to by one other, so there is one speaker. It tells the neighbours, who tell theirs, that the
// job ends, and calls MPI_Abort; a rank that this has not ended after `grace` ends itself and Open MPI's daemon that
// started it, so that no process stays behind on a host that is cut off.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "dist/communicator.h"

namespace strata::dist {

struct WatchLimits {
    std::chrono::milliseconds silence{45'000};  ///< 0: nobody watches
    std::chrono::milliseconds wait{1'800'000};
    std::chrono::milliseconds grace{5'000};
};

class JobWatch {
  public:
    using Speak = std::function<void(const std::string&)>;

    /// `speak` prints the one message; it is called on the watch's thread. Make it before MPI is initialised and let it
    /// go after MPI is finalised, so that the end of the job is watched as well.
    JobWatch(WatchLimits limits, Speak speak);
    ~JobWatch();
    JobWatch(const JobWatch&) = delete;
    JobWatch& operator=(const JobWatch&) = delete;

    /// The ranks are about to meet: from here to watch() is the time that meeting may take. `rank` is the launcher's
    /// word; rank 0 speaks for all.
    void expect_meeting(int rank);

    /// Collective: connects the ranks, and watches from here on. Throws AgreedSystemError when they do not reach one
    /// another. Alone, or without limit, there is nothing to watch.
    void watch(Communicator& communicator);

    /// This rank has failed and is about to say so and to abort the job with `exit_code`: the others need not wonder at
    /// its silence. Does not return where the failure is but the echo of another rank's end, of which the watch speaks.
    void leave_after_failure(int exit_code);

  private:
    class Thread;

    WatchLimits limits_;
    std::unique_ptr<Thread> thread_;
};

}  // namespace strata::dist
