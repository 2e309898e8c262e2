#include "apps/strata/stop_signal.h"

#include <unistd.h>
#include <csignal>

namespace strata::app {
namespace {

// A signal handler can reach nothing but static storage; this is the program's only mutable static.
volatile std::sig_atomic_t signals_seen = 0;

constexpr int watched[] = {SIGTERM, SIGINT, SIGUSR1};

void on_signal(int) {
    if (signals_seen > 0) _exit(1);
    signals_seen = 1;
}

}  // namespace

StopSignal::StopSignal() {
    signals_seen = 0;
    for (const int number : watched) std::signal(number, on_signal);
}

StopSignal::~StopSignal() {
    for (const int number : watched) std::signal(number, SIG_DFL);
}

bool StopSignal::requested() const {
    return signals_seen > 0;
}

}  // namespace strata::app
