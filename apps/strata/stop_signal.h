// SIGTERM, SIGINT and SIGUSR1 ask a run to save and stop. The handler only counts: all work happens between steps.
#pragma once

namespace strata::app {

/// Installs the handlers while it lives; puts the old ones back. A second signal ends the process at once, which
/// harms nothing: checkpoints are whole or invisible.
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    /// True once this process was asked to stop. Other ranks may not know yet: agree before acting on it.
    bool requested() const;
};

}  // namespace strata::app
