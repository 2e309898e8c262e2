// Work for a device that is noted once and then done again as one launch: a CUDA graph (cuda_graph.h), or what a test
// puts in its place.
#pragma once

#include <functional>

namespace strata::optim {

class Recording {
  public:
    virtual ~Recording() = default;

    /// Calls `work` and notes what it gives the device, which does none of it. What kernels take as arguments, sources
    /// and targets of copies included, is noted with it and stays as it is; what they read is read anew each time.
    /// SystemError names a call that cannot be noted, such as a wait of the host.
    virtual void record(const std::function<void()>& work) = 0;

    /// Has the device do what was noted. The host goes on.
    virtual void replay() = 0;
};

}  // namespace strata::optim
