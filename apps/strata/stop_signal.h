// SIGTERM, SIGINT and SIGUSR1 ask a run to save and stop. The handler only counts: all work happens between steps.
#pragma once

namespace strata::app {

/// Installs the handlers while it lives; puts the old ones back. A SIGTERM or SIGINT after the first signal ends the
/// process at once, with exit code 1, which harms nothing: checkpoints are whole or invisible. Within a second of the
/// first it counts as the same one: launchers that signal both mpirun and the ranks, which mpirun then signals too,
/// send it twice. SIGUSR1 only ever asks: several may do so who do not know of one another, as hosts that are taken
/// away.
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
