#include "apps/strata/stop_signal.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>

namespace strata::app {
namespace {

// A signal handler can reach nothing but static storage; these are the program's only mutable statics.
volatile std::sig_atomic_t signals_seen = 0;
volatile std::sig_atomic_t first_came = 0;  // monotonic milliseconds, less what does not fit

constexpr int watched[] = {SIGTERM, SIGINT, SIGUSR1};
constexpr int same_signal_milliseconds = 1000;

std::sig_atomic_t milliseconds_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::sig_atomic_t>((now.tv_sec % 1'000'000) * 1000 + now.tv_nsec / 1'000'000);
}

void on_signal(int number) {
    const std::sig_atomic_t now = milliseconds_now();
    const bool again = signals_seen > 0 && std::abs(now - first_came) >= same_signal_milliseconds;
    if (again && number != SIGUSR1) _exit(1);
    if (signals_seen == 0) first_came = now;
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
